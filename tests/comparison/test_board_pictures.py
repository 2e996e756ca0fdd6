"""The pictures of a board, and their colours."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l2l_gail.comparison import boards_of
from l2l_gail.comparison.boards import DRAWN_REFERENCES, PALETTE
from l2l_gail.comparison.distributions import draw_profiles, profile
from l2l_gail.comparison.figures import board_figures, score_figures
from l2l_gail.comparison.media import adversarial_pictures, median_run
from l2l_gail.finding_runs import OVERVIEW
from tests.comparison.support import (
    board,
    cifar_run,
    events,
    gail_run,
    sections_of,
)


@pytest.mark.slow
def test_images_tab_holds_readable_pictures(compared: Path) -> None:
    overview = events(board(compared, "Hopper-v5") / OVERVIEW)
    tags = overview.Tags()["images"]
    for wanted in ("true return with 95% CI", "by training seconds", "by discriminator gradients"):
        assert any(wanted in tag for tag in tags), wanted
    assert any("performance profile" in tag for tag in tags)
    for tag in tags:
        picture = overview.Images(tag)[0]
        with Image.open(io.BytesIO(picture.encoded_image_string)) as image:
            assert abs(image.width - picture.width) <= 1
            assert abs(image.height - picture.height) <= 1
            assert 600 < image.width < 1000  # twice a card's width


@pytest.mark.slow
def test_colours_are_tensorboard_s_in_the_order_of_the_runs(compared: Path) -> None:
    (one,) = boards_of(sections_of(compared)["Hopper-v5"])
    starts = {
        folder.name: events(folder).FirstEventTimestamp()
        for folder in board(compared, "Hopper-v5").iterdir()
    }
    order = sorted(starts, key=starts.__getitem__)
    assert order == ["expert", "behaviour cloning", "gail", "l2l_gail", OVERVIEW]
    assert one.colours == dict(zip(order[:-1], PALETTE, strict=False))


def test_no_two_runs_of_a_board_share_a_colour_however_many_methods(tmp_path: Path) -> None:
    for number in range(11):
        gail_run(tmp_path, f"gail_v{number}", 0, 1000)
    section = sections_of(tmp_path)["Hopper-v5"]
    boards = boards_of(section)
    assert [one.name for one in boards] == [f"Hopper-v5-{k}of3" for k in (1, 2, 3)]
    shown = [method.method for one in boards for method in one.methods]
    assert sorted(shown) == sorted(method.method for method in section.methods)
    for one in boards:
        runs = len(DRAWN_REFERENCES) + len(one.methods) + 1
        assert runs <= len(PALETTE)
        assert len(set(one.colours.values())) == len(one.colours) == runs - 1


def test_variants_are_dealt_so_that_methods_stand_side_by_side(tmp_path: Path) -> None:
    for rate in (0.1, 0.2, 0.3):
        for method in ("gail", "l2l_gail"):
            gail_run(tmp_path, method, 0, 1000, config={"learning_rate": rate})
    first, _ = boards_of(sections_of(tmp_path)["Hopper-v5"])
    names = ["gail (learning_rate=0.1)", "l2l_gail (learning_rate=0.1)"]
    assert [method.method for method in first.methods][:2] == names


def test_pictures_have_the_colours_of_the_board(compared: Path) -> None:
    (one,) = boards_of(sections_of(compared)["Hopper-v5"])
    axes = board_figures(one)["1 true return/b true return with 95% CI (picture)"].axes[0]
    drawn = {line.get_label().split(" (")[0]: line.get_color() for line in axes.lines}
    for name, colour in one.colours.items():
        assert drawn[name] == colour
    assert len(axes.collections) == 2  # a band for each method


def test_the_median_run_stands_for_its_method(tmp_path: Path) -> None:
    for seed, final in enumerate((3000, 1000, 2000, 500)):
        gail_run(tmp_path, "gail", seed, final)
    (method,) = sections_of(tmp_path)["Hopper-v5"].methods
    assert median_run(method).folder.seed == 1  # the lower one of two


def test_adversarial_images_come_with_classes_where_their_run_noted_them(runs: Path) -> None:
    section = sections_of(runs)["cifar10"]
    (one,) = boards_of(section)
    noted = median_run(one.methods[0]).folder.path
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(6, 32, 32, 3), dtype=np.uint8)
    np.savez(
        noted / "adversarial.npz",
        clean=images,
        perturbed=255 - images,
        labels=[0, 1, 2, 0, 1, 2],
        before=[0, 1, 2, 0, 1, 2],
        after=[1, 1, 2, 0, 2, 2],
        classes=["plane", "car", "bird"],
    )
    plain = median_run(one.methods[1]).folder.path
    Image.fromarray(images[0]).save(plain / "adversarial.png")
    (with_classes, without), notes = adversarial_pictures(one)
    assert notes == []
    assert with_classes.tag.endswith(one.methods[0].method)
    assert with_classes.size[0] > 600
    assert without.size == (32, 32)
    (noted / "adversarial.npz").write_bytes(b"PK damaged")
    left, (note,) = adversarial_pictures(one)
    assert [picture.tag for picture in left] == [without.tag]
    assert "adversarial.npz is damaged" in note


def test_a_long_name_over_adversarial_images_is_not_cut(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    classes = {key: [0, 1, 2, 0] for key in ("labels", "before", "after")}
    cifar_run(
        tmp_path, "cifar10", "grad_l2l+" + "+".join(f"setting_{k}=10" for k in range(9)), 0, 0.2
    )
    (one,) = boards_of(sections_of(tmp_path)["cifar10"])
    path = median_run(one.methods[0]).folder.path / "adversarial.npz"
    np.savez(path, clean=images, perturbed=images, classes=["a", "b", "c"], **classes)
    ((picture,), _) = adversarial_pictures(one)
    with Image.open(io.BytesIO(picture.data)) as image:
        drawn = np.asarray(image.convert("L"))
    assert drawn[:, [0, -1]].min() == 255
    assert drawn[0].min() == 255


def test_a_profile_is_the_share_of_runs_above() -> None:
    shares = profile([0.2, 0.4, 0.4, 1.0], np.array([0.0, 0.2, 0.3, 0.4, 0.9, 1.0]))
    assert shares.tolist() == [1.0, 0.75, 0.75, 0.25, 0.25, 0.0]
    assert all(before >= after for before, after in pairwise(shares))


def test_training_notes_the_classes_of_its_adversarial_images(tmp_path: Path) -> None:
    from adv_training.data import ImageBatch
    from adv_training.pictures import save_pictures

    class BrightIsOne(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = x.mean((1, 2, 3)) > 0.5
            return torch.stack([~bright, bright], 1).float()

    dark, bright = torch.full((1, 3, 4, 4), 0.2), torch.full((1, 3, 4, 4), 0.8)
    clean = ImageBatch(torch.cat([dark, bright]), torch.tensor([0, 0]))
    save_pictures(tmp_path, BrightIsOne(), clean, clean.x.flip(0), data="own", classes=2)
    with np.load(tmp_path / "adversarial.npz") as file:
        assert file["before"].tolist() == [0, 1]
        assert file["after"].tolist() == [1, 0]
        assert file["labels"].tolist() == [0, 0]
        assert file["clean"][0, 0, 0].tolist() == [51, 51, 51]
        assert file["perturbed"].shape == (2, 4, 4, 3)
        assert file["classes"].tolist() == ["0", "1"]


def test_pictures_set_only_runs_of_one_length_against_each_other(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000, steps=8000)
        gail_run(tmp_path, "l2l_gail", seed, 2000)
    boards = boards_of(sections_of(tmp_path)["Hopper-v5"])
    drawn = {
        tag: [label.get_text() for label in figure.axes[0].get_yticklabels()]
        for tag, figure in score_figures(boards).items()
    }
    areas = {tag.split(", ")[1]: rows for tag, rows in drawn.items() if "area" in tag}
    assert areas == {"runs of 40,000 steps": ["l2l_gail"], "runs of 8,000 steps": ["gail"]}
    assert sorted(draw_profiles(boards[0])) == [", runs of 40,000 steps", ", runs of 8,000 steps"]
