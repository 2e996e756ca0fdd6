"""A model's archive: written with a checksum, read without running anything that is in it."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN

from l2l_gail.checks import check_kind
from l2l_gail.errors import InputError
from l2l_gail.files import atomic_write, home_expanded, open_archive, open_regular, seal
from l2l_gail.gail.config import DiscriminatorConfig, RuleTraining
from l2l_gail.gail.credit import LearnedCredit
from l2l_gail.gail.saved_fields import check_saved
from l2l_gail.ppo import (
    NormalizeDict,
    NormalizedMultiInputPolicy,
    NormalizedPolicy,
    NormalizeObservations,
    PPOConfig,
    TensorRolloutBuffer,
)
from l2l_gail.saved_models import SavedModel, read_model, with_own_tensors

__all__ = [
    *("NOT_READ", "archive_for_sb3", "kind_of_model", "named_model", "plain_attributes"),
    *("plain_fields", "read_fields", "saved_file", "schedules_left_out", "write_model"),
]

_OWN = ("discriminator", "discriminator_updates")
"""Tensors that a model of GAIL has beside those of PPO."""
_HIDDEN = (*_OWN, "credit_assignment", "pace", "steering", "average", "optimizer")
"""What SB3's load of a model of PPO is to pass over."""
NOT_READ = ("_last_obs", "_last_episode_starts", "tensorboard_log", "lr_schedule")
"""What a training begins with, a file need not hold and nothing takes from it."""
_SCHEDULES = {
    "learning_rate": PPOConfig.policy_learning_rate,
    "clip_range": 0.2,
    "clip_range_vf": None,
}
"""What may be a schedule, and what it is by default."""
_OFF = {"credit": None, "policy_pace": 0.0, "policy_divergence": 0.0, "policy_average": 0.0}
"""What an older version did not have, switched off."""


@dataclass(frozen=True)
class _SavedDiscriminator(DiscriminatorConfig):
    """What version 0.1.0 had in this class besides."""

    update_rule: str = "adam"
    learning_rate: float = 3e-4
    holdout_fraction: float = 0.0


@dataclass(frozen=True)
class _SavedLearnedRule:
    """A class of version 0.1.0."""

    meta_learning_rate: float = 3e-3
    global_step_lr_ratio: float = 10.0
    meta_every: int = 1
    hidden: int = 16
    learn_network: bool = True
    learn_step: bool = True
    holdout_fraction: float = 0.25


_KNOWN: dict[tuple[str, str], type] = {
    **{
        (kind.__module__, kind.__name__): kind
        for kind in (
            *(ActorCriticPolicy, ActorCriticCnnPolicy, MultiInputActorCriticPolicy),
            *(CombinedExtractor, FlattenExtractor, NatureCNN),
            *(DictRolloutBuffer, RolloutBuffer, TensorRolloutBuffer),
            *(NormalizedPolicy, NormalizeObservations, RuleTraining),
            LearnedCredit,
            *(NormalizedMultiInputPolicy, NormalizeDict),
        )
    },
    ("l2l_gail.gail.config", "DiscriminatorConfig"): _SavedDiscriminator,
    # Where version 0.1.0 had them.
    ("l2l_gail.gail.config", "LearnedRuleConfig"): _SavedLearnedRule,
    ("l2l_gail.gail.normalize", "GAILPolicy"): NormalizedPolicy,
    ("l2l_gail.gail.normalize", "NormalizeObservations"): NormalizeObservations,
}
"""Classes that a model's archive may name, by the module and name it gives them."""


def write_model(path: Any, archive: bytes) -> None:
    """Write a model's archive with its checksum.

    Args:
        path: File, ``.zip`` being added to a name without a suffix, or an open binary file.
        archive: What SB3's ``save`` has made.
    """
    sealed = seal(with_own_tensors(archive, _HIDDEN, hidden=True))
    if isinstance(path, io.IOBase):
        path.write(sealed)
    else:
        atomic_write(_with_suffix(path), sealed)


def archive_for_sb3(path: Path) -> io.BytesIO:
    """Return a model's archive as SB3's ``load`` is to see it, with the discriminator.

    Raises:
        InputError: The file is missing, unreadable or no archive.
    """
    with open_regular(path) as file, open_archive(file, str(path), "give another model"):
        file.seek(0)
        content = file.read()
    return io.BytesIO(with_own_tensors(content, _HIDDEN, hidden=False))


@contextlib.contextmanager
def saved_file(path: Any) -> Iterator[Path]:
    """Give the file to read: the one that is named, or a copy of what an open file holds."""
    if not isinstance(path, io.IOBase):
        yield named_model(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.zip"
        copy.write_bytes(path.read())
        yield copy


def named_model(path: str | Path) -> Path:
    """The file that a model's name stands for: it, or with the suffix that ``save`` has added."""
    exact, saved = home_expanded(path), _with_suffix(path)
    return saved if os.path.isfile(saved) and not os.path.isfile(exact) else exact


def _with_suffix(path: Any) -> Path:
    path = home_expanded(path)
    return path if path.suffix or not path.name else path.with_suffix(".zip")


def plain_fields(
    path: Path, given: Mapping[str, Any], model_class: type
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what SB3's ``load`` is to take for the attributes of GAIL that it would unpickle.

    Args:
        path: The model's archive.
        model_class: The class that loads it.
        given: Attributes that the caller replaces; what the archive says of them does not matter.

    Returns:
        Those attributes as objects, and attributes that an older version did not save.

    Raises:
        InputError: The file is damaged or no model, or an attribute needs unpickling.
    """
    parts = {"policy", "policy.optimizer", "discriminator", "discriminator_updates"}
    saved = _read_plain(path, given, model_class, parts)
    if "discriminator_config" in given:
        _check_given_discriminator(path, saved, given)
    own = _attributes(saved)
    added: dict[str, Any] = {}
    if "discriminator_config" not in saved.refused:  # else it is given anew
        own["discriminator_config"], added = _todays_settings(saved)
    added |= {name: off for name, off in _OFF.items() if name not in saved.fields}
    return own, added


def read_fields(path: Path) -> dict[str, Any]:
    """Return the attributes of a saved model that are plain, unchecked.

    Raises:
        InputError: The file is damaged or no model.
    """
    return read_model(path, _KNOWN).fields


def schedules_left_out(path: Path) -> dict[str, Any]:
    """Return constants for those of a saved policy's schedules that only unpickling would rebuild.

    Raises:
        InputError: The file is damaged or no model.
    """
    pickled = read_model(path, _KNOWN).pickled
    return {name: constant for name, constant in _SCHEDULES.items() if name in pickled}


def plain_attributes(
    path: Path, given: Mapping[str, Any], model_class: type, parts: Set[str]
) -> dict[str, Any]:
    """Return what SB3's ``load`` is to take for the attributes of a model that it would unpickle.

    Args:
        path: The model's archive.
        given: Attributes that the caller replaces; what the archive says of them does not matter.
        model_class: The class that loads it.
        parts: Networks and optimizers that a whole model has.

    Raises:
        InputError: The file is damaged or no such model, or an attribute needs unpickling.
    """
    return _attributes(_read_plain(path, given, model_class, parts))


def _read_plain(
    path: Path, given: Mapping[str, Any], model_class: type, parts: Set[str]
) -> SavedModel:
    saved = read_model(path, _KNOWN)
    _check_kind(path, saved, model_class, given)
    check_saved(path, saved, model_class, given)
    for name, reason in saved.refused.items():
        if name not in given:
            raise InputError(
                f"{path}: its {name} is refused here: {reason}. What was registered when it was "
                "saved has to be registered before it is loaded"
            )
    for name, reason in saved.pickled.items():
        if name not in given and name not in NOT_READ:
            raise InputError(
                f"{path}: only unpickling would rebuild {name} ({reason}), and that runs code in "
                "the file; if you trust it, load it with trust_pickle=True"
            )
    lacking = parts - set(saved.parameters)
    if lacking == set(_OWN):
        raise InputError(
            f"{path} has a policy and no discriminator: load it with PPO.load, or give a model "
            "that GAIL.save wrote"
        )
    if lacking:
        name = "BC" if "discriminator" not in parts else "GAIL"
        raise InputError(
            f"{path} lacks {', '.join(sorted(lacking))}: it is no whole model of {name}"
        )
    return saved


def kind_of_model(fields: Mapping[str, Any]) -> Literal["AIRL", "GAIL", "BC"] | None:
    """Return the class whose ``load`` reads a saved model; None where it is none of this library.

    Args:
        fields: Attributes that the archive holds, by name.
    """
    if "state_only_reward" in fields:
        return "AIRL"
    if "discriminator_config" in fields:
        return "GAIL"
    # All algorithms of SB3 discount.
    return "BC" if "batch_size" in fields and "gamma" not in fields else None


def _check_kind(path: Path, saved: SavedModel, model_class: type, given: Mapping[str, Any]) -> None:
    """Refuse a model of another class, and one whose discriminator is another network."""
    kind = kind_of_model(saved.fields | saved.pickled | saved.refused)
    if kind not in (None, model_class._kind):  # type: ignore[attr-defined]
        raise InputError(f"{path} holds a model of {kind}: load it with {kind}.load")
    held = saved.parameters.get("discriminator")
    is_own = isinstance(held, Mapping) and any(str(name).startswith("network.") for name in held)
    if is_own != (given.get("discriminator_network") is not None) and kind == "GAIL":
        verb = "give" if is_own else "leave out"
        raise InputError(
            f"{path}: its discriminator is {'a' if is_own else 'no'} network of your own: {verb} "
            "discriminator_network=..."
        )


def _check_given_discriminator(path: Path, saved: SavedModel, given: Mapping[str, Any]) -> None:
    """Refuse settings of a discriminator whose weights would not be those that were saved."""
    config, was = given["discriminator_config"], saved.fields.get("discriminator_config")
    hint = "or leave it out for that of the file"
    check_kind("discriminator", config, DiscriminatorConfig, hint, optional=False)
    names = ["judges"]
    if given.get("discriminator_network") is None:
        names.append("hidden_sizes")
    for name in names:
        asked, held = getattr(config, name), getattr(was, name, None)
        if held is not None and list(asked) != list(held):
            raise InputError(
                f"{path}: its discriminator has {name}={held!r}, not the {asked!r} that is given: "
                "leave the setting as it was saved, or begin a new model"
            )


def _attributes(saved: SavedModel) -> dict[str, Any]:
    own = {name: saved.fields.get(name) for name in saved.described}
    own |= dict.fromkeys(NOT_READ)
    for name in ("ep_info_buffer", "ep_success_buffer"):
        window = int(saved.fields.get("_stats_window_size", 100))
        own[name] = deque(own.get(name) or (), maxlen=window)
    return own


def _todays_settings(saved: SavedModel) -> tuple[DiscriminatorConfig, dict[str, Any]]:
    """Return the discriminator's settings in today's class, and an old model's rule."""
    config = saved.fields.get("discriminator_config")
    if not isinstance(config, _SavedDiscriminator):
        raise InputError("the archive holds no model of GAIL: give one that GAIL.save wrote")
    names = [field.name for field in fields(DiscriminatorConfig)]
    today = DiscriminatorConfig(**{name: getattr(config, name) for name in names})
    if "rule_spec" in saved.fields:
        return today, {}
    learned = saved.fields.get("rule_config")
    learned = learned if isinstance(learned, _SavedLearnedRule) else None
    return today, _rule_of_version_0_1_0(config, learned, saved.fields)


def _rule_of_version_0_1_0(
    config: _SavedDiscriminator, learned: _SavedLearnedRule | None, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the rule of a model of version 0.1.0 and its training, as attributes of today."""
    lr = config.learning_rate
    if learned is None:
        training = RuleTraining(holdout_fraction=config.holdout_fraction, meta_mode="reverse")
        return {
            "rule_spec": {"rule": config.update_rule, "config": {"lr": lr}},
            "rule_training": training if config.holdout_fraction else None,
        }
    rule = {
        "lr": lr,
        "hidden": learned.hidden,
        "learn_step": learned.learn_step,
        "learn_network": learned.learn_network,
        "step_lr_ratio": learned.global_step_lr_ratio,
        "seed": attributes.get("seed") or 0,
    }
    training = RuleTraining(
        meta_learning_rate=learned.meta_learning_rate,
        meta_every=learned.meta_every,
        holdout_fraction=learned.holdout_fraction,
        meta_mode="reverse",
    )
    return {
        "rule_spec": {"rule": "coordinate_mlp", "config": rule},
        "rule_training": training,
    }
