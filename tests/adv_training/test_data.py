"""Images on the device: order, augmentation, and the generated set."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from adv_training.data import Dataset, Images, statistics_of
from adv_training.layers import Statistics
from adv_training.methods import build_method
from adv_training.synthetic import synthetic_dataset, synthetic_images
from adv_training.views import draw_view
from l2l_gail.errors import InputError
from tests.adv_training.support import generator, tiny_batch, tiny_settings


def numbered(count: int, side: int = 32) -> Images:
    """Images whose every pixel tells the image's number."""
    pixels = torch.arange(count).view(-1, 1, 1, 1).expand(count, 3, side, side)
    return Images(pixels.to(torch.uint8).contiguous(), torch.arange(count))


def test_an_epoch_shows_each_image_once_with_its_label() -> None:
    images = numbered(100)
    batches = list(images.shuffled(20, generator(), augmented=False))
    shown = torch.cat([batch.y for batch in batches])
    assert sorted(shown.tolist()) == list(range(100))
    assert shown.tolist() != list(range(100))
    for batch in batches:
        assert torch.equal((batch.x[:, 0, 0, 0] * 255).round().long(), batch.y)


def test_the_incomplete_last_batch_is_dropped() -> None:
    assert [len(b.y) for b in numbered(50).shuffled(20, generator(), augmented=True)] == [20, 20]
    assert [len(b.y) for b in numbered(50).batches(20)] == [20, 20, 10]


def test_batches_are_floats_in_the_unit_interval() -> None:
    batch = Images(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1), torch.arange(2))
    assert batch.batch(slice(None)).x.flatten().tolist() == [0.0, 1.0]


def test_augmentation_equals_padding_cropping_and_flipping_by_hand() -> None:
    pixels = torch.randint(1, 256, (40, 3, 32, 32), generator=generator(1)).to(torch.uint8)
    result = draw_view(40, 32, 32, generator(2)).of(pixels)
    padded = torch.nn.functional.pad(pixels, (4, 4, 4, 4))
    found = set()
    for image, big in zip(result, padded, strict=True):
        matches = [
            (row, column, flipped)
            for row in range(9)
            for column in range(9)
            for flipped in (False, True)
            if torch.equal(
                image,
                big[:, row : row + 32, column : column + 32].flip(2)
                if flipped
                else big[:, row : row + 32, column : column + 32],
            )
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert len(found) > 30  # a draw of its own for each image
    assert {flipped for _, _, flipped in found} == {False, True}


def test_equal_generators_give_equal_epochs() -> None:
    first, second = (
        torch.cat([b.x for b in numbered(60).shuffled(20, generator(3), augmented=True)])
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_the_generated_set_repeats_and_its_parts_differ() -> None:
    once, again = synthetic_images(50, seed=1), synthetic_images(50, seed=1)
    assert torch.equal(once.pixels, again.pixels)
    data = synthetic_dataset(train_size=50, eval_size=50, held_out=10)
    assert len(data.train) == 40
    assert not torch.equal(data.train.pixels, data.test.pixels[:40])
    assert data.train.labels.unique().tolist() == list(range(10))


def test_a_learned_attacker_is_the_same_for_the_same_seed() -> None:
    settings = tiny_settings("grad_l2l")
    first, second = (build_method(settings).rule.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    state = torch.random.get_rng_state()
    build_method(settings)
    assert torch.equal(state, torch.random.get_rng_state())
    assert tiny_batch().x.is_contiguous(memory_format=torch.channels_last)


def test_batches_say_which_images_they_hold() -> None:
    images = synthetic_images(20, seed=0)
    for batch in (
        *images.batches(8),
        *images.shuffled(8, torch.Generator().manual_seed(0), augmented=False),
        images.batch(slice(3, 9)),
        images.batch(torch.tensor([7, 2])),
    ):
        assert batch.indices is not None
        assert torch.equal(batch.y, images.labels[batch.indices])
        assert torch.equal(batch.x, images.pixels[batch.indices].float() / 255)


def odd_images(count: int = 40, colours: int = 1, side: tuple[int, int] = (9, 7)) -> Images:
    pixels = torch.randint(0, 256, (count, colours, *side), generator=generator(3))
    return Images(pixels.to(torch.uint8), torch.arange(count) % 4)


def test_statistics_are_those_of_the_pixels() -> None:
    images = odd_images(colours=2)
    mean, std = statistics_of(images)
    x = images.pixels.double() / 255
    assert mean == pytest.approx(x.mean(dim=(0, 2, 3)).tolist())
    assert std == pytest.approx(x.std(dim=(0, 2, 3), correction=0).tolist())
    constant = Images(torch.full((3, 1, 2, 2), 51, dtype=torch.uint8), torch.zeros(3).long())
    assert statistics_of(constant) == ((pytest.approx(0.2),), (1.0,))


def test_a_dataset_of_any_shape_measures_its_own_statistics() -> None:
    train, test = odd_images(), odd_images(12)
    data = Dataset.split("mine", train, test, held_out=10, classes=4)
    assert data.shape == (1, 9, 7)
    assert data.statistics == statistics_of(train[:30])


@pytest.mark.parametrize(
    ("pixels", "labels", "said"),
    [
        (torch.zeros(8, 3, 4, 4), torch.zeros(8).long(), r"uint8 of shape .* not float32"),
        (torch.zeros(8, 4, 4).byte(), torch.zeros(8).long(), r"not uint8 of shape \(8, 4, 4\)"),
        (torch.zeros(8, 1, 9, 7).byte(), torch.zeros(8), r"int64 of shape \(8,\), not float32"),
        (torch.zeros(8, 1, 9, 7).byte(), torch.arange(8), r"from 0 to 7; with 4 classes"),
        (torch.zeros(8, 3, 9, 7).byte(), torch.zeros(8).long(), r"must be alike"),
    ],
)
def test_images_that_are_none_are_said_in_one_line(
    pixels: torch.Tensor, labels: torch.Tensor, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Dataset.split("mine", odd_images(), Images(pixels, labels), held_out=10, classes=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [list, np.uint8, np.int32, np.int64, np.uint64])
def test_arrays_and_lists_are_taken_as_tensors_are(kind: type) -> None:
    known = odd_images(6)
    labels = known.labels.tolist() if kind is list else known.labels.numpy().astype(kind)
    images = Images(known.pixels.numpy(), labels)
    assert torch.equal(images.pixels, known.pixels)
    assert torch.equal(images.labels, known.labels)
    assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(images[2:4].batch(slice(None)).x, known[2:4].batch(slice(None)).x)


@pytest.mark.filterwarnings("error")
def test_arrays_that_torch_cannot_look_at_are_copied() -> None:
    pixels = odd_images(6, colours=3).pixels.numpy()
    locked = pixels.copy()
    locked.flags.writeable = False
    labels = np.arange(6)
    assert torch.equal(Images(locked, labels).pixels, torch.from_numpy(pixels))
    channels_last = pixels.transpose(0, 2, 3, 1).copy()
    flipped = channels_last[..., ::-1].transpose(0, 3, 1, 2)  # blue, green, red
    assert torch.equal(Images(flipped, labels[::-1]).pixels, torch.from_numpy(pixels).flip(1))


@pytest.mark.parametrize(
    ("pixels", "labels", "said"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), [0, 1], r"uint8 of shape .*, not float32 of shape"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], r"not uint8 of shape \(2, 4, 4\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0.0, 1.0], r"int64 of shape \(2,\), not float64"),
        (np.zeros((2, 3, 4, 4), np.uint8), [True, False], r"int64 of shape \(2,\), not bool"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0, 1, 2], r"int64 of shape \(2,\), not int64 of shape"),
        (np.zeros((2, 3, 4, 4), np.uint8), ["cat", "dog"], "the labels are no numbers"),
        (np.zeros((2, 3, 4, 4), np.uint8), [[0], [1, 2]], "the labels are no numbers"),
        (None, [0, 1], "the images are no numbers"),
    ],
)
def test_arrays_that_are_no_images_are_said_in_one_line(
    pixels: np.ndarray, labels: list, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Images(pixels, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["train", "held_out", "test"])
def test_every_part_of_a_data_set_is_checked(part: str) -> None:
    whole = Dataset.split("mine", odd_images(), odd_images(12), held_out=10, classes=4)
    good = getattr(whole, part)
    wrong = {
        "there are no .* images": good[:0],
        "labels run from 0 to 9": Images(
            good.pixels, torch.where(good.labels == 3, 9, good.labels)
        ),
        "must be alike": Images(good.pixels[..., 1:], good.labels),
    }
    for said, images in wrong.items():
        with pytest.raises(InputError, match=said):
            dataclasses.replace(whole, **{part: images}, statistics=((0.5,), (0.5,)))


@pytest.mark.parametrize(
    "statistics",
    [
        ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        ((0.5,), (0.0,)),
        ((0.5,), (-1.0,)),
        ((float("nan"),), (0.2,)),
        ((0.5,), ()),
    ],
)
def test_statistics_of_no_such_images_are_refused(statistics: Statistics) -> None:
    with pytest.raises(InputError, match="statistics must be 1 finite means and 1 deviations"):
        Dataset.split(
            "mine", odd_images(), odd_images(12), held_out=10, classes=4, statistics=statistics
        )
    tensors = torch.tensor([0.5]), torch.tensor([0.25])
    data = Dataset.split(
        "mine", odd_images(), odd_images(12), held_out=10, classes=4, statistics=tensors
    )
    assert data.statistics == ((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("sides", "most"), [((32, 28), (4, 4)), ((8, 16), (1, 2)), ((32, 12), (4, 2)), ((2, 3), (0, 0))]
)
def test_small_images_are_shifted_by_an_eighth_of_each_side(
    sides: tuple[int, int], most: tuple[int, int]
) -> None:
    view = draw_view(300, *sides, generator())
    for places, reach in ((view.rows[:, 0], most[0]), (view.columns.amin(1), most[1])):
        assert set(places.tolist()) == set(range(2 * reach + 1))
    pixels = torch.randint(1, 256, (300, 2, *sides), generator=generator(1)).to(torch.uint8)
    seen = view.of(pixels)
    assert torch.equal(view.put(pixels, seen), pixels)
    lost = [reach / side for reach, side in zip(most, sides, strict=True)]
    assert (seen > 0).float().mean((1, 2, 3)).min() >= (1 - lost[0]) * (1 - lost[1]) - 1e-6


def test_images_sorted_by_class_are_refused_where_one_would_be_lost() -> None:
    images = odd_images(40)
    order = images.labels.argsort()
    sorted_by_class = Images(images.pixels[order], images.labels[order])
    sizes = {"held_out": 10}, {"held_out": 2, "train_size": 20}
    for size in sizes:
        with pytest.raises(
            InputError, match=r"in blocks of one class.* none of class [23]: shuffle"
        ):
            Dataset.split("mine", sorted_by_class, odd_images(12), classes=4, **size)
    falling = Images(sorted_by_class.pixels.flip(0), sorted_by_class.labels.flip(0))
    with pytest.raises(InputError, match=r"have none of class 0: shuffle"):
        Dataset.split("mine", falling, odd_images(12), held_out=10, classes=4)
    data = Dataset.split("mine", sorted_by_class, odd_images(12), held_out=1, classes=4)
    assert set(data.train.labels.tolist()) == {0, 1, 2, 3}


def labelled(labels: torch.Tensor) -> Images:
    return Images(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels)


ROUND = torch.arange(400) % 4
FOLDERS = torch.tensor([2, 0, 3, 1]).repeat_interleave(20).repeat(5)  # five folders, each sorted


@pytest.mark.parametrize(
    ("train", "test", "sizes", "said"),
    [
        (ROUND.sort()[0], ROUND, {}, "the 40 held out to choose the best epoch have none of cl"),
        (FOLDERS, ROUND, {"held_out": 15}, r"training images .* the 15 held out .* class 0: shuf"),
        (ROUND, ROUND.sort()[0], {"eval_size": 50}, r"test images .* to judge on, have .* class 1"),
        (ROUND, FOLDERS, {"eval_size": 50}, r"test images .* first 50, which .* of class 1: shuf"),
    ],
)
def test_images_in_blocks_of_one_class_are_refused_where_a_part_lacks_some(
    train: torch.Tensor, test: torch.Tensor, sizes: dict, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        Dataset.split("mine", labelled(train), labelled(test), **{"held_out": 40, **sizes})


@pytest.mark.parametrize(
    ("train", "test", "sizes"),
    [
        (ROUND, ROUND.sort()[0], {}),  # all of the test images
        (FOLDERS, ROUND, {}),  # two blocks of twenty: and so are all of the held out
        (ROUND, torch.ones(400).long(), {"eval_size": 9}),
        (torch.ones(400).long(), ROUND, {}),
        ((torch.arange(400) % 100 == 7).long(), ROUND, {"held_out": 50}),  # a rare class
        (torch.tensor([0, 1, 2, 2]), ROUND, {"held_out": 1}),
        (torch.tensor([0, 1, 2, 3]), ROUND, {"held_out": 1}),
        (torch.tensor([0, 0, 1, 1]), ROUND, {"held_out": 1}),
    ],
)
def test_images_that_need_no_shuffling_are_taken(
    train: torch.Tensor, test: torch.Tensor, sizes: dict
) -> None:
    sizes = {"held_out": 80, **sizes}
    dataset = Dataset.split("mine", labelled(train), labelled(test), **sizes)
    assert len(dataset.train) == len(train) - sizes["held_out"]


@pytest.mark.parametrize("shape", [(5, 32, 32, 3), (5, 28, 28, 1), (5, 8, 8, 4)])
def test_images_with_their_channels_last_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"look channels last; give x\.transpose\(0, 3, 1, 2\)"):
        Images(np.zeros(shape, np.uint8), torch.arange(5))
    assert len(Images(np.zeros(shape, np.uint8).transpose(0, 3, 1, 2), torch.arange(5))) == 5
    assert len(Images(np.zeros((5, 4, 4, 4), np.uint8), torch.arange(5))) == 5


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 33), (5, 9, 20)])
def test_images_of_one_s_own_need_no_more_than_pixels_and_labels(shape: tuple[int, ...]) -> None:
    def images(count: int) -> Images:
        pixels = torch.randint(0, 256, (count, *shape), generator=generator(), dtype=torch.uint8)
        return Images(pixels, torch.arange(count) % 3)

    data = Dataset("mine", images(20), images(10), images(10), 3, True)
    assert data.statistics == statistics_of(data.train)
    assert len(data.statistics[0]) == shape[0]
    with pytest.raises(InputError, match="labels run from 0 to 2; with 2 classes"):
        Dataset("mine", images(20), images(10), images(10), 2, True)
