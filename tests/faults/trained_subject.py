"""What is attacked of trained classifiers: ``model.pt``."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from adv_training import TrainedModel, build_classifier, build_method, load_dataset
from adv_training.trained_model import MODEL_FILE, save_model
from l2l_gail.files import read_tensors
from tests.adv_training.support import tiny_settings


@cache
def trained_content() -> dict[str, Any]:
    settings = tiny_settings("grad_l2l", attacker="slim")
    data = load_dataset(None, train_size=20, eval_size=10)
    weights = build_classifier(settings.model, data.classes, 0).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        method = build_method(settings)
        save_model(path, settings, data, best=weights, last=weights, method=method)
        return read_tensors(path, missing="", way_out="")


def judge_trained(model: TrainedModel) -> None:
    channels, height, width = model.settings.shape
    x = torch.full((2, channels, height, width), 0.5)
    with torch.no_grad():
        logits = model.classifier(x)
    assert logits.shape == (2, model.classes)
    for module in (model.classifier, model.method.rule):
        assert all(
            t.isfinite().all() for t in module.state_dict().values() if t.is_floating_point()
        )
