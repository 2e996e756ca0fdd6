"""``--compile``: a classifier becomes one graph, and not one for each kind of block."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adv_training.models import build_classifier


@pytest.mark.parametrize(("name", "width"), [("small_cnn", 1.0), ("preact_resnet18", 0.125)])
def test_a_classifier_is_one_graph(name: str, width: float) -> None:
    model = build_classifier(name, 10, seed=0, width=width)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model.eval()
    with torch.no_grad():
        expected = model(x)
    graphs: list[Any] = []

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model.compile(backend=count)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected)
    assert len(graphs) == 1
    assert list(model.state_dict()) == list(build_classifier(name, 10, 0, width=width).state_dict())
