"""The tables of docs/results-*.md against the records that they are made from."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.gail import figures
from benchmarks.imitation_gail import hyperparameters
from benchmarks.records import read_configuration
from l2l_gail.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / "benchmarks" / "results" / "peer"
CONFIGS = sorted((ROOT / "benchmarks" / "gail" / "configs").glob("*.toml"))


def load(name: str) -> ModuleType:
    path = list(sys.path)
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "gail" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return load("report")


@pytest.fixture(scope="module")
def grid() -> ModuleType:
    return load("grid")


def test_every_table_of_the_documents_is_what_its_records_give(report: ModuleType) -> None:
    texts = [document.read_text() for document in report.DOCUMENTS]
    blocks = [block for text in texts for block in report.BLOCK.finditer(text)]
    assert len(blocks) > 5
    for block in blocks:
        assert block[0] == f"{block[1]}{report.table(block[2], report.RESULTS)}{block[3]}"


def test_the_peer_trained_with_the_settings_that_are_stated() -> None:
    records = [json.loads(file.read_text()) for file in sorted(PEER.glob("*.json"))]
    assert {record["preset"] for record in records} == {"tuned", "tutorial", "common"}
    for record in records:
        used = record["hyperparameters"]
        stated = asdict(hyperparameters(record["preset"], record["env"]))
        assert used.pop("n_steps") * record["n_envs"] == stated["rollout"]
        if record["notes"]:  # fewer transitions were demonstrated than it asks for
            assert stated.pop("demo_batch_size") > record["transitions"]
            assert used.pop("demo_batch_size") <= record["transitions"]
        assert used == stated


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_record_was_made_by_its_configuration(path: Path, grid: ModuleType) -> None:
    configuration = read_configuration(path)
    assert configuration["name"] == path.stem
    cells = dict(grid.cells(configuration))
    records = sorted((grid.RESULTS / path.stem).glob("*.json"))
    assert records
    for file in records:
        grid.check_same(file, cells[file.stem])


def test_a_record_of_another_configuration_is_refused(tmp_path: Path, grid: ModuleType) -> None:
    file = tmp_path / "record.json"
    file.write_text(json.dumps({"seed": 0, "steps": 5}))
    with pytest.raises(InputError, match="other steps"):
        grid.check_same(file, {"seed": 0, "steps": 6})


def test_a_configuration_that_is_missing_is_one_line(grid: ModuleType) -> None:
    with pytest.raises(InputError, match=r"/nope.toml does not exist") as caught:
        grid.main(["/nope.toml"])
    assert "\n" not in str(caught.value)


def test_a_setting_changes_the_arguments_of_the_environment(grid: ModuleType) -> None:
    arguments = {"include_cfrc_ext_in_observation": False}
    configuration = {
        "seeds": [0],
        "envs": ["Ant-v5"],
        "steps": 2048,
        "eval_every": 2048,
        "methods": {"gail": {"rule": "muon"}},
        "settings": {"default": {}, "without_forces": {"env_kwargs": arguments}},
    }
    found = {cell["setting"]: cell.get("env_kwargs") for _, cell in grid.cells(configuration)}
    assert found == {"default": None, "without_forces": arguments}


def test_the_tail_is_the_worst_of_the_late_evaluations() -> None:
    def tail(curve: list[float]) -> float:
        return figures.tail({"evaluations": {"return_mean": curve}})

    assert tail([0.0, 0.0, 5.0, 3.0, 4.0]) == 3.0
    assert tail([-9.0] * 20 + [8.0, 1.0, 9.0, 3.0, *[7.0] * 6]) == 2.0


def test_an_interval_of_means_covers_the_mean_and_narrows_with_seeds() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, 40)
    few = figures.interval(figures.resampled_means(values[:10], 0))
    many = figures.interval(figures.resampled_means(values, 0))
    assert few[0] < values[:10].mean() < few[1]
    assert many[0] < values.mean() < many[1]
    assert many[1] - many[0] < few[1] - few[0]
    # Close to the normal interval, 1.96 standard errors to either side.
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.1)
