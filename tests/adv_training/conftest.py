"""Images that several tests train on."""

from __future__ import annotations

import pytest

from adv_training.data import Dataset
from adv_training.synthetic import synthetic_dataset


@pytest.fixture(scope="module")
def data() -> Dataset:
    return synthetic_dataset(train_size=200, eval_size=40, held_out=40)
