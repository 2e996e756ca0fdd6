"""Saved models: what loads, what is refused, and that nothing in a file is run."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CheckpointCallback

from l2l_gail.core import CoordinateMLP, MatrixRule
from l2l_gail.errors import InputError
from l2l_gail.gail import AIRL, BC, GAIL, L2LGAIL, DiscriminatorConfig, RuleTraining
from l2l_gail.ppo import NormalizedPolicy, TensorPPO
from tests.demos.support import members_of, write_members
from tests.gail.support import walk_demos, walk_envs
from tests.gail.tensor_support import OwnPolicy, TensorWalk, make
from tests.gail.worlds import envs_of, recorded

DATA = Path(__file__).parent / "data"
OBSERVATIONS = np.linspace(-1, 1, 22, dtype=np.float32).reshape(2, 11)
ACTIONS_0_1_0 = {  # what version 0.1.0 gave for OBSERVATIONS
    GAIL: [
        [0.028411822393536568, 0.05902286618947983, 0.03327011317014694],
        [0.014903615228831768, 0.038080547004938126, 0.02136916108429432],
    ],
    L2LGAIL: [
        [0.028728757053613663, 0.05922067537903786, 0.033395443111658096],
        [0.015207445248961449, 0.038286514580249786, 0.02158942073583603],
    ],
}


@pytest.mark.parametrize(("cls", "name"), [(GAIL, "gail"), (L2LGAIL, "l2l_gail")])
def test_a_model_of_version_0_1_0_acts_as_it_did_and_trains_on(cls: type[GAIL], name: str) -> None:
    model = cls.load(DATA / f"{name}_0_1_0.zip", device="cpu")
    actions, _ = model.predict(OBSERVATIONS, deterministic=True)
    np.testing.assert_allclose(actions, ACTIONS_0_1_0[cls], rtol=1e-6, atol=1e-7)
    assert type(model.policy) is NormalizedPolicy
    assert model.discriminator_config == DiscriminatorConfig(
        hidden_sizes=(8, 8), updates_per_rollout=2, batch_size=16
    )
    trainer = model.discriminator_updates.trainer
    assert trainer.steps == 4
    assert trainer.rule.config["lr"] == 1e-3
    if cls is L2LGAIL:
        assert isinstance(trainer.rule, CoordinateMLP)
        assert trainer.rule.log_step.item() != 0.0  # learned
        assert model.rule_training == RuleTraining(meta_every=2, meta_mode="reverse")

    import envs

    with envs.make("Hopper-v5", 4, device="cpu") as env:
        again = cls.load(
            DATA / f"{name}_0_1_0.zip", env=env, demonstrations="Hopper-v5", device="cpu"
        )
        again.learn(64, reset_num_timesteps=False)
    assert again.num_timesteps == 128 + 64
    assert again.discriminator_updates.trainer.steps == 6


def test_a_saved_model_is_sealed_and_loads_from_a_name_or_an_open_file(tmp_path: Path) -> None:
    model = make(GAIL, TensorWalk())
    model.save(tmp_path / "new" / "model")  # the folder is made, the suffix added
    opened = io.BytesIO()
    model.save(opened)
    assert opened.getvalue()
    opened.seek(0)
    for source in (tmp_path / "new" / "model", str(tmp_path / "new" / "model.zip"), opened):
        again = GAIL.load(source, device="cpu")
        for name, value in model.policy.state_dict().items():
            assert torch.equal(again.policy.state_dict()[name], value)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    make(L2LGAIL, TensorWalk()).save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 40, replace=False).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(InputError):
            L2LGAIL.load(path, device="cpu")


MARKS: list[str] = []


def leave_mark(word: str) -> str:
    MARKS.append(word)
    return word


class Marks:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> Any:
        return leave_mark, ("here",)


def test_nothing_in_a_file_is_run_unless_it_is_trusted(tmp_path: Path) -> None:
    model = make(GAIL, TensorWalk())
    model.a_note = Marks()
    model.save(tmp_path / "model.zip")
    with pytest.raises(InputError, match=r"a_note .*trust_pickle=True"):
        GAIL.load(tmp_path / "model.zip", device="cpu")
    assert MARKS == []
    GAIL.load(tmp_path / "model.zip", device="cpu", trust_pickle=True)
    assert MARKS == ["here"]
    replaced = GAIL.load(tmp_path / "model.zip", device="cpu", custom_objects={"a_note": 3})
    assert replaced.a_note == 3
    assert MARKS == ["here"]


def test_what_needs_unpickling_is_named(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "policy_class": {"policy": OwnPolicy},
        "learning_rate": {"learning_rate": lambda left: 1e-3 * left},
    }
    for name, kwargs in cases.items():
        make(GAIL, TensorWalk(), **kwargs).save(tmp_path / name)
        with pytest.raises(InputError, match=name):
            GAIL.load(tmp_path / name, device="cpu")
        assert GAIL.load(tmp_path / name, device="cpu", trust_pickle=True).n_steps == 20


def test_common_settings_need_no_unpickling(tmp_path: Path) -> None:
    policy_kwargs = {
        "net_arch": {"pi": [8], "vf": [8, 8]},
        "activation_fn": torch.nn.ReLU,
        "optimizer_class": torch.optim.Adam,
        "optimizer_kwargs": {"eps": 1e-5},
        "log_std_init": -0.5,
    }
    model = make(
        L2LGAIL,
        TensorWalk(),
        policy_kwargs=policy_kwargs,
        clip_range_vf=0.1,
        discriminator=DiscriminatorConfig((8,), 2, 16, penalty=("r1", "r2"), loss="relativistic"),
        rule_training=RuleTraining(meta_every=2),
    )
    model.learn(60)
    model.save(tmp_path / "model")
    again = L2LGAIL.load(
        tmp_path / "model", env=walk_envs(2), demonstrations=walk_demos(), device="cpu"
    )
    assert again.policy_kwargs == model.policy_kwargs
    assert again.discriminator_config == model.discriminator_config
    assert again.rule_training == model.rule_training
    assert again.clip_range_vf(1.0) == 0.1
    assert [e["r"] for e in again.ep_info_buffer] == [e["r"] for e in model.ep_info_buffer]
    again.learn(60, reset_num_timesteps=False)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"verbose": False, "normalize_advantage": 1},
        {"n_epochs": np.int64(2), "gamma": np.float32(0.5)},
        {"tensorboard_log": Path("logs")},
        {"policy_kwargs": {"activation_fn": torch.nn.Mish, "optimizer_class": torch.optim.AdamW}},
    ],
)
def test_settings_in_other_forms_of_the_same_are_read(
    tmp_path: Path, kwargs: dict[str, Any]
) -> None:
    model = make(GAIL, TensorWalk(), **kwargs)
    model.save(tmp_path / "model")
    again = GAIL.load(tmp_path / "model", device="cpu")
    assert again.tensorboard_log is None
    for name in kwargs.keys() - {"tensorboard_log"}:
        assert getattr(again, name) == getattr(model, name)


def test_a_schedule_that_is_replaced_needs_no_unpickling(tmp_path: Path) -> None:
    make(GAIL, TensorWalk(), learning_rate=lambda left: 1e-3 * left).save(tmp_path / "model")
    again = GAIL.load(tmp_path / "model", device="cpu", learning_rate=2e-3)
    assert again.lr_schedule(0.5) == 2e-3


@pytest.mark.parametrize("cls", [GAIL, BC])
def test_a_model_of_dicts_is_read_whenever_it_was_saved(
    tmp_path: Path, cls: type[GAIL | BC]
) -> None:
    kwargs = {"n_steps": 16, "batch_size": 16} if cls is GAIL else {}
    env, demos = envs_of("tests/Corners-v0", 2), recorded("tests/Corners-v0", 1)
    model = cls("MultiInputPolicy", env, demos, seed=0, device="cpu", **kwargs)
    steps, every = (32, 5) if cls is GAIL else (100, 1)
    model.learn(steps, callback=CheckpointCallback(every, str(tmp_path)))
    saved = sorted(tmp_path.glob("*.zip"))
    assert saved
    for path in saved:
        assert cls.load(path, device="cpu").num_timesteps > 0


@pytest.mark.parametrize(
    ("writer", "reader", "said"),
    [
        (GAIL, AIRL, "a model of GAIL: load it with GAIL.load"),
        (AIRL, L2LGAIL, "a model of AIRL: load it with AIRL.load"),
        (GAIL, BC, "a model of GAIL: load it with GAIL.load"),
        (BC, GAIL, "a model of BC: load it with BC.load"),
    ],
)
def test_a_model_of_another_class_is_named(
    tmp_path: Path, writer: Any, reader: Any, said: str
) -> None:
    writer("MlpPolicy", walk_envs(), walk_demos(), device="cpu").save(tmp_path / "model")
    with pytest.raises(InputError, match=said):
        reader.load(tmp_path / "model", device="cpu")


def test_a_discriminator_of_ones_own_is_to_be_given_again(tmp_path: Path) -> None:
    own = torch.nn.Bilinear(2, 1, 1)
    make(GAIL, TensorWalk(), discriminator_network=own).save(tmp_path / "own")
    make(GAIL, TensorWalk()).save(tmp_path / "usual")
    with pytest.raises(InputError, match=r"a network of your own: give discriminator_network="):
        GAIL.load(tmp_path / "own", device="cpu")
    GAIL.load(tmp_path / "own", device="cpu", discriminator_network=own)
    with pytest.raises(InputError, match=r"no network of your own: leave out discriminator_net"):
        GAIL.load(tmp_path / "usual", device="cpu", discriminator_network=own)


@pytest.mark.parametrize("content", [[1, 2], None, 5, {1: torch.zeros(2)}])
def test_a_discriminator_that_is_none_is_one_line(tmp_path: Path, content: Any) -> None:
    path, file = tmp_path / "model.zip", io.BytesIO()
    make(GAIL, TensorWalk()).save(path)
    members = members_of(path)
    torch.save(content, file)
    write_members(path, members | {"discriminator.pt": file.getvalue()})
    assert "discriminator.pt" in members
    with pytest.raises(InputError) as caught:
        GAIL.load(path, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("predict", 3, "'predict' is no attribute"),
        ("n_steps", 2**40, "its 'n_steps' is 1099511627776"),
        ("gamma", "x", "its 'gamma' is x"),
        ("policy_class", "MlpPolicy", "its 'policy_class' is MlpPolicy"),
        ("policy_kwargs", {"net_arch": [10**9]}, "layers that are not in it"),
        ("policy_kwargs", {"net_arch": [8] * 10_000}, "layers that are not in it"),
        (
            "rule_spec",
            {"rule": "coordinate_mlp", "config": {"lr": 1e-3, "hidden": 10**9}},
            "larger",
        ),
        ("rule_spec", {"rule": "no such rule", "config": {}}, "rule cannot be built"),
        *(
            (
                "rule_spec",
                {"rule": "coordinate_mlp", "config": {"lr": 1e-3}, "learned": learned},
                "rule cannot be built",
            )
            for learned in (["no_such"], 3, [["log_step"]])
        ),
        ("observation_space", None, "does not fit this version"),
    ],
)
def test_settings_that_cannot_be_true_are_refused_before_they_cost_anything(
    tmp_path: Path, field: str, value: Any, said: str
) -> None:
    path = tmp_path / "model.zip"
    make(L2LGAIL, TensorWalk()).save(path)
    members = members_of(path)
    data = json.loads(members["data"]) | {field: value}
    write_members(path, members | {"data": json.dumps(data).encode()})
    with pytest.raises(InputError, match=said) as caught:
        L2LGAIL.load(path, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_model_whose_training_had_failed_is_neither_saved_nor_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.zip"
    model = make(GAIL, TensorWalk())
    model.save(path)
    sound = path.read_bytes()
    with torch.no_grad():
        model.policy.action_net.weight[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"not saved to .*policy 'action_net\.weight' is not fin"):
        model.save(path)
    assert path.read_bytes() == sound
    monkeypatch.setattr("l2l_gail.gail.sealed.check_weights", lambda *args: None)  # as 0.1.0
    model.save(path)
    with pytest.raises(InputError, match=r"policy 'action_net\.weight' is not finite"):
        GAIL.load(path, device="cpu")


@pytest.mark.parametrize("reader", [PPO, TensorPPO])
@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_ppo_loads_a_model_of_gail_as_its_policy(
    tmp_path: Path, cls: type[GAIL], reader: type[PPO]
) -> None:
    rule = MatrixRule() if cls is L2LGAIL else None
    model = cls(
        "MlpPolicy", walk_envs(), walk_demos(), rule=rule, n_steps=8, batch_size=8, seed=0,
        device="cpu",
    ).learn(16)  # fmt: skip
    model.save(tmp_path / "model")
    loaded = reader.load(tmp_path / "model", env=walk_envs(), device="cpu")
    observations = np.linspace(-2, 2, 8, dtype=np.float32).reshape(4, 2)
    for deterministic in (True, False):
        torch.manual_seed(0)
        expected = model.policy.predict(observations, deterministic=deterministic)[0]
        torch.manual_seed(0)
        assert np.array_equal(
            loaded.predict(observations, deterministic=deterministic)[0], expected
        )
    loaded.learn(16)  # on the environment's own reward
    assert loaded.rollout_buffer.rewards.min() > 50


@pytest.mark.parametrize("writer", [PPO, TensorPPO])
def test_gail_says_of_a_model_of_ppo_what_it_is(tmp_path: Path, writer: type[PPO]) -> None:
    writer("MlpPolicy", walk_envs(), n_steps=8, batch_size=8).save(tmp_path / "ppo")
    with pytest.raises(InputError, match="a policy and no discriminator: load it with PPO"):
        L2LGAIL.load(tmp_path / "ppo")


def test_a_file_does_not_say_where_to_log(tmp_path: Path) -> None:
    model = make(GAIL, TensorWalk())
    model.tensorboard_log = str(tmp_path / "from_the_file")
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model", device="cpu")
    assert loaded.tensorboard_log is None
    given = GAIL.load(tmp_path / "model", device="cpu", tensorboard_log=str(tmp_path / "mine"))
    assert given.tensorboard_log == str(tmp_path / "mine")
    assert not (tmp_path / "from_the_file").exists()


def test_what_is_no_model_of_gail_is_refused_in_one_line(tmp_path: Path) -> None:
    PPO("MlpPolicy", walk_envs(), n_steps=8, batch_size=8).save(tmp_path / "ppo.zip")
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("data", json.dumps({}))
    for name in ("ppo.zip", "text.zip", "empty.zip", "missing.zip"):
        with pytest.raises(InputError) as caught:
            GAIL.load(tmp_path / name)
        assert "\n" not in str(caught.value)
