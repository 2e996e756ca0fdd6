"""The tables of images in docs and README against the records that they are made from."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adv_training import Settings
from adv_training.synthetic import synthetic_dataset
from benchmarks.cifar import figures
from benchmarks.cifar.images import packed, unpacked
from benchmarks.records import read_configuration
from l2l_gail.errors import InputError
from tests.marks import slow

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "cifar"
CONFIGS = sorted((FOLDER / "configs").glob("*.toml"))


def load(name: str) -> ModuleType:
    # Under a name of its own: the grids of GAIL have files of the same names.
    path = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"cifar_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"cifar_{name}"] = module
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return load("report")


@pytest.fixture(scope="module")
def grid() -> ModuleType:
    return load("grid")


def test_every_table_of_images_is_what_its_records_give(report: ModuleType) -> None:
    found = 0
    for document in report.DOCUMENTS:
        for block in report.BLOCK.finditer(document.read_text()):
            assert block[0] == f"{block[1]}{report.table(block[2])}{block[3]}"
            found += 1
    assert found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_record_was_made_by_its_configuration(path: Path, grid: ModuleType) -> None:
    configuration = read_configuration(path)
    assert configuration["name"] == path.stem
    cells = dict(grid.cells(configuration))
    for cell in cells.values():
        assert isinstance(grid.settings_of(cell), Settings)
    for file in sorted((grid.RESULTS / path.stem).glob("*.json")):
        grid.check_same(file, cells[file.stem])


def agrees_with_its_images(record: dict[str, Any]) -> bool:
    counts = {"apgd_t": record["judge"].get("apgd_t")}
    return all(
        unpacked(text, counts.get(measure, record["judge"]["eval_size"])).mean()
        == pytest.approx(record[measure], abs=1e-9)
        for measure, text in record["images"].items()
    )


def test_the_accuracies_of_every_record_are_those_of_its_images(report: ModuleType) -> None:
    for file in sorted(report.RESULTS.glob("*/*.json")):
        assert agrees_with_its_images(json.loads(file.read_text())), file


def test_apgd_t_and_the_standing_measure_part_only_where_a_classifier_gave_way(
    report: ModuleType,
) -> None:
    gaps = {}
    for file in sorted(report.RESULTS.glob("*/*.json")):
        record = json.loads(file.read_text())
        if count := record["judge"].get("apgd_t"):
            of, images = record["judge"]["eval_size"], record["images"]
            standing = unpacked(images["robust"], of)[:count].mean()
            gaps[file.parent.name, file.stem] = standing - unpacked(images["apgd_t"], count).mean()
    gave_way = [gaps.pop(("sixty", name)) for name in ("eps_16_l2l_memory_0", "eps_12_pgd_2_2")]
    # The figures of docs/adversarial.md.
    assert [f"{100 * gap:.1f}" for gap in gave_way] == ["7.4", "4.8"]
    with_pgd = [gap for (_, name), gap in gaps.items() if "_pgd_" in name]
    assert len(with_pgd) > 10
    assert 0 <= min(with_pgd) <= max(with_pgd) < 0.04


def test_a_record_of_another_configuration_is_refused(tmp_path: Path, grid: ModuleType) -> None:
    file = tmp_path / "record.json"
    file.write_text(json.dumps({"seed": 0, "data": "cifar10"}))
    with pytest.raises(InputError, match="other data"):
        grid.check_same(file, {"seed": 0, "data": "cifar100"})


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/nope.toml"], "/nope.toml does not exist"),
        ([str(CONFIGS[0].with_suffix(".txt"))], "does not exist"),
        ([str(FOLDER / "grid.py")], "grid.py is no TOML"),
        ([str(CONFIGS[0]), "--methods", "nope"], "--methods nope: no configuration has it; there"),
        ([str(CONFIGS[0]), "--seeds", "0", "77"], "--seeds 77: no configuration has it; there"),
    ],
)
def test_what_a_grid_cannot_run_is_one_line_before_anything_runs(
    argv: list[str], said: str, grid: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "dataset_of", None)
    with pytest.raises(InputError, match=said) as caught:
        grid.main(argv)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "said"),
    [
        slow(["--data-dir", "/nope"], "--data-dir /nope holds no cifar-10-batches-py"),
        (["--only", "nonsense"], "--only 'nonsense': no such variant; there are: .*FGSM"),
    ],
)
def test_the_attackers_on_frozen_classifiers_refuse_what_there_is_not(
    argv: list[str], said: str
) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "attackers.py"), *argv]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.match(f"error: {said}", line)
    assert done.stdout == ""


def test_an_unknown_setting_of_a_cell_is_one_line(grid: ModuleType) -> None:
    cell = {"setting": "s", "method": "m", "data": "cifar10", "seed": 0}
    with pytest.raises(InputError, match=r"the cell s, m: .*rampe"):
        grid.settings_of(cell | {"settings": {"method": "pgd", "rampe": 0.5}})


@pytest.mark.slow
def test_a_cell_is_trained_judged_image_by_image_and_goes_on_where_it_stopped(
    tmp_path: Path,
) -> None:
    judged = load("judged")
    data = synthetic_dataset(train_size=200, eval_size=60, held_out=40)
    settings = Settings("grad_l2l", "synthetic", model="tiny_cnn", epochs=1, batch_size=50)
    first = judged.run(settings, data, tmp_path, "cell", eval_size=60)
    again = judged.run(settings, data, tmp_path, "cell", eval_size=60)
    timeless = [{k: v for k, v in r.items() if not k.endswith("_s")} for r in (first, again)]
    assert timeless[0] == timeless[1]
    assert agrees_with_its_images(first | {"judge": {"eval_size": 60}})
    bits = {k: unpacked(v, 60) for k, v in first["images"].items()}
    assert first["clean"] > first["robust"]
    assert not (bits["robust"] & ~bits["clean"]).any()
    assert first["best_epoch"] == 1
    assert first["gain_pgd10"] > first["gain_fgsm"] > 0


def test_a_record_keeps_the_signs_of_masked_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ["the classifier is random: two looks at one image differ"]
    monkeypatch.setattr("adv_training.review.masking_flags", lambda *args, **options: told)
    data = synthetic_dataset(train_size=200, eval_size=60, held_out=40)
    settings = Settings("fgsm", "synthetic", model="tiny_cnn", epochs=1, batch_size=50)
    found = load("judged").run(settings, data, tmp_path, "cell", eval_size=20)
    assert found["masking_flags"] == told


def write_records(folder: Path, right: dict[str, list[list[bool]]]) -> None:
    # Records of methods whose classifiers get these images right, seed by seed.
    folder.mkdir(parents=True)
    for method, seeds in right.items():
        for seed, bits in enumerate(seeds):
            text = packed(np.array(bits))
            record = {
                **{"setting": "default", "method": method, "seed": seed},
                "judge": {"eval_size": len(bits)},
                "images": dict.fromkeys(("clean", "pgd20", "robust"), text),
                **dict.fromkeys(("robust_best", "gain_fgsm", "gain_pgd10"), 0.5),
                **{"gain_learned": None, "catastrophic_overfitting_epochs": [3, 4]},
                **{"forward_equivalents": 5.0, "cpu_s": 10.0},
            }
            (folder / f"{method}_{seed}.json").write_text(json.dumps(record))


def test_tables_give_accuracies_all_seeds_and_paired_differences(
    tmp_path: Path, report: ModuleType
) -> None:
    some = [True, False, True, False] * 25
    more = [True, True, True, False] * 25
    write_records(tmp_path / "few", {"pgd_2": [some, more], "fgsm": [some, more]})
    methods = report.table("few.methods", tmp_path)
    row = next(line for line in methods.splitlines() if "FGSM" in line)
    assert "62.5 [" in row
    assert "50.0, 75.0" in row
    # The same images right with every seed: not a tenth of a point apart, however few they are.
    assert "+0.0 [+0.0, +0.0]" in report.table("few.differences", tmp_path)
    assert "| 0 | 2, 2 |" in report.table("few.room", tmp_path)
    assert "62.5" in report.table("few.short", tmp_path)
    with pytest.raises(InputError, match="no such view"):
        report.table("few.nothing", tmp_path)
    with pytest.raises(InputError, match="no records in"):
        report.table("none.methods", tmp_path)


def test_an_interval_covers_the_mean_and_sees_seeds_and_images() -> None:
    generator = np.random.default_rng(0)
    images = 100.0 * (generator.random((1, 900)) < 0.3)
    low, high = figures.interval(images)
    assert low < images.mean() < high
    error = images.std() / np.sqrt(images.size)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    # Seeds that agree image by image tell no more than one; seeds that differ widen the interval.
    same = figures.interval(np.repeat(images, 3, axis=0))
    assert same[1] - same[0] == pytest.approx(high - low, rel=0.1)
    apart = figures.interval(images + 10.0 * np.arange(3)[:, None])
    assert apart[1] - apart[0] > 1.5 * (high - low)


def test_bits_survive_the_way_through_text() -> None:
    bits = np.random.default_rng(0).random(1003) < 0.4
    assert (unpacked(packed(bits), 1003) == bits).all()
