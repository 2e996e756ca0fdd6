"""What the HParams tab of a board holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from tensorboard.plugins.hparams import plugin_data_pb2

from l2l_gail.compare import compare
from l2l_gail.comparison import boards_of
from l2l_gail.comparison.hparams import hyperparameters
from l2l_gail.finding_runs import OVERVIEW
from tests.comparison.support import (
    RETURN,
    STEPS,
    board,
    events,
    gail_run,
    sections_of,
)


def hparams_of(folder: Path) -> tuple[dict[str, float | str], dict[str, float]]:
    """Settings and metrics of a row of the HParams tab."""
    read = events(folder)

    def stored(tag: str) -> plugin_data_pb2.HParamsPluginData:
        content = read.summary_metadata[f"_hparams_/{tag}"].plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(content)

    values = stored("session_start_info").session_start_info.hparams
    settings = {key: value.string_value or value.number_value for key, value in values.items()}
    wanted = [info.name.tag for info in stored("experiment").experiment.metric_infos]
    return settings, {tag: read.Scalars(tag)[-1].value for tag in wanted}


def test_a_setting_too_large_for_a_number_is_a_word() -> None:
    method = SimpleNamespace(method="gail", runs=[0], settings={"rate": 10**400, "size": 3})
    found = hyperparameters([method])  # type: ignore[list-item]
    assert found["gail"]["~ rate, same for all"] == str(10**400)
    assert found["gail"]["~ size, same for all"] == 3.0


def test_what_tells_methods_apart_comes_first_in_hparams() -> None:
    shared = {"batch_size": 256, "action_samples": 8}
    methods = [
        SimpleNamespace(method="gail", runs=(1,), settings={**shared, "update_rule": "muon"}),
        SimpleNamespace(
            method="l2l_gail", runs=(1,),
            settings={**shared, "action_samples": 4, "learned": "both", "learned_rule": "m"},
        ),
    ]  # fmt: skip
    found = hyperparameters(methods)  # type: ignore[arg-type]
    assert sorted(found["gail"])[:5] == [
        "1 method", "1 seeds", "2 learned", "2 learned_rule", "2 update_rule",
    ]  # fmt: skip
    assert found["gail"]["2 learned"] == "-"
    assert "~ batch_size, same for all" in found["gail"]


def test_hparams_have_a_row_a_method_with_the_same_keys_and_filled_metrics(compared: Path) -> None:
    keys, metrics = [], []
    for method in ("gail", "l2l_gail"):
        settings, measured = hparams_of(board(compared, "Hopper-v5") / method)
        keys.append(set(settings))
        metrics.append(list(measured))
        assert settings["1 method"] == method
        assert settings["1 seeds"] == 3
    assert keys[0] == keys[1]
    assert "~ learning_rate, same for all" in keys[0]
    assert not any("epochs" in key for key in keys[0])  # of the other game
    assert metrics[0] == metrics[1]
    assert RETURN in metrics[0]


def test_hparams_have_the_same_keys_on_all_boards_of_a_game(tmp_path: Path) -> None:
    for i in range(8):
        own = {"attack": f"a{i}"} if i == 7 else {}
        gail_run(tmp_path, f"method{i}", 0, 1000.0 + i, config={"learning_rate": i + 1.0, **own})
    compare(tmp_path)
    first, second = boards_of(sections_of(tmp_path)["Hopper-v5"])
    keys = [
        set(hparams_of(board(tmp_path, shown.name) / method.method)[0])
        for shown in (first, second)
        for method in shown.methods
    ]
    assert len(keys) == 8
    assert all(each == keys[0] for each in keys)
    assert "attack" in keys[0]


def test_hparams_of_single_runs_have_a_row_a_run_with_the_same_keys_and_filled_metrics(
    compared: Path,
) -> None:
    rows = {
        file.parent.relative_to(board(compared, "Hopper-v5-runs")).as_posix(): file.parent
        for file in board(compared, "Hopper-v5-runs").rglob("events.out.tfevents.*")
    }
    folder = rows.pop(OVERVIEW)
    assert "HParams" in str(events(folder).Tensors("runs/text_summary")[0].tensor_proto)
    assert set(rows) == {f"{m}/seed{k}" for m in ("gail", "l2l_gail") for k in range(3)}
    found = {name: hparams_of(folder) for name, folder in rows.items()}
    first_settings, first_scores = found["gail/seed0"]
    for name, (settings, scores) in found.items():
        assert settings.keys() == first_settings.keys()
        assert scores.keys() == first_scores.keys()
        assert name == f"{settings['1 method']}/seed{settings['1 seed']:.0f}"
        assert settings["steps"] == STEPS[-1]
    finals = {
        name: scores["2 scores/a true return of the last policy"]
        for name, (_, scores) in found.items()
    }
    assert finals["gail/seed1"] == 1500
    assert finals["l2l_gail/seed1"] == 3020
    curve = events(rows["l2l_gail/seed1"]).Scalars("1 true return/a true return")
    assert [(p.step, p.value) for p in curve] == list(
        zip(STEPS, [755, 1510, 2265, 3020], strict=True)
    )
