"""The memory of perturbations: read and written where an image is looked at."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adv_training import Training, attack_gain
from adv_training.data import Images
from adv_training.memory import PerturbationMemory
from adv_training.report import results_table
from adv_training.synthetic import synthetic_dataset
from l2l_gail.runs import RunFolder
from tests.adv_training.support import generator, tiny_settings


def some_images(count: int = 30, side: int = 32) -> Images:
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator(1))
    return Images(pixels.to(torch.uint8), torch.arange(count) % 10)


def some_signs(count: int, side: int = 32, seed: int = 2) -> Tensor:
    signs = torch.randint(-1, 2, (count, 3, side, side), generator=generator(seed))
    return signs.to(torch.float32)


def test_what_is_kept_of_a_view_is_recalled_in_the_same_view() -> None:
    images = some_images()
    memory = PerturbationMemory(images)
    for batch in images.shuffled(10, generator(3), augmented=True):
        assert torch.equal(memory.recall(batch), torch.zeros_like(batch.x))
        signs = some_signs(10)
        memory.keep(batch, batch.x + 0.01 * signs)
        inside = batch.view.of(torch.ones(10, 3, 32, 32)) > 0  # what lies outside is forgotten
        assert torch.equal(memory.recall(batch), torch.where(inside, signs, 0.0))


def test_a_shift_and_a_mirror_are_those_of_the_image() -> None:
    images = some_images()
    memory = PerturbationMemory(images)
    whole = images.batch(slice(0, 30))
    signs = some_signs(30)
    memory.keep(whole, whole.x + 0.01 * signs)
    for batch in images.shuffled(10, generator(3), augmented=True):
        seen = memory.recall(batch)
        assert torch.equal(seen, batch.view.of(signs[batch.indices]))
        # The same shift and mirror as the image's own.
        pixels = batch.view.of(images.pixels[batch.indices].float() / 255)
        assert torch.equal(batch.x, pixels)


def test_what_a_view_does_not_show_stays_as_it_was() -> None:
    images = some_images()
    memory = PerturbationMemory(images)
    whole = images.batch(slice(0, 30))
    first, second = some_signs(30, seed=4), some_signs(30, seed=5)
    memory.keep(whole, whole.x + 0.01 * first)
    [batch] = images.shuffled(30, generator(3), augmented=True)
    memory.keep(batch, batch.x + 0.01 * batch.view.of(second[batch.indices]))
    shown = batch.view.put(torch.zeros_like(batch.x), torch.ones_like(batch.x))
    shown = shown[batch.indices.argsort()]
    assert 0 < shown.mean() < 1
    assert torch.equal(memory.recall(whole), torch.where(shown > 0, second, first))


def test_a_saved_memory_is_the_same_and_small() -> None:
    images = some_images(7, side=9)
    memory, again = (PerturbationMemory(images) for _ in "12")
    batch = images.batch(slice(0, 5))
    memory.keep(batch, batch.x + some_signs(5, side=9))
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.load_state_dict(saved)
    assert torch.equal(memory.signs, again.signs)
    assert saved["up"].numel() + saved["down"].numel() <= memory.signs.numel() / 4 + 2
    with pytest.raises(ValueError, match=r"one of \(7, 3, 9, 9\) signs, not \(6, 3, 9, 9\)"):
        PerturbationMemory(images[:6]).load_state_dict(saved)


def test_a_training_remembers_the_images_it_has_trained_on(tmp_path: Path) -> None:
    data = synthetic_dataset(train_size=200, eval_size=20, held_out=20)
    settings = tiny_settings("grad_l2l", attacker="memory", epochs=1)
    folder = RunFolder.create(tmp_path, data.name, settings.label, seed=0)
    run = Training(settings, data, folder)
    assert run.game.memory is not None
    assert run.review.game.memory is None
    run.run()
    met = run.game.memory.signs.flatten(1).any(1)
    assert int(met.sum()) == len(data.train) // settings.batch_size * settings.batch_size


@pytest.mark.parametrize(("attacker", "remembers"), [("memory", True), ("residual", False)])
def test_the_table_s_gains_are_of_the_images_that_its_legend_says(
    attacker: str, remembers: bool, tmp_path: Path
) -> None:
    data = synthetic_dataset(train_size=120, eval_size=40, held_out=20)
    settings = tiny_settings("grad_l2l", attacker=attacker)
    folder = RunFolder.create(tmp_path, "synthetic", settings.label, 0)
    training = Training(settings, data, folder)
    summary = training.run()
    game = training.review.game
    game.memory = training.game.memory
    images = data.train[: len(data.test)] if remembers else data.test
    gain = attack_gain(game, training.method, images)
    assert (gain.fgsm, gain.rule) == (summary["attack_gain_fgsm"], summary["attack_gain_l2l"])
    legend = " ".join(results_table([summary]).split())
    assert "on the test images, in nats; one that remembers images: on as many training" in legend
    assert "FGSM gain: the same for one step along the gradient's sign, same images" in legend
