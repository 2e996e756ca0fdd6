"""What the algorithms share: models with a checksum, from which nothing is unpickled."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from l2l_gail.checks import check_choice
from l2l_gail.errors import InputError, one_line
from l2l_gail.files import fitting, home_expanded
from l2l_gail.gail.fit import read_demonstrations
from l2l_gail.gail.model_settings import SETTINGS
from l2l_gail.gail.replaced import parts_to_begin, settings_before
from l2l_gail.gail.saved_fields import check_weights
from l2l_gail.gail.saving import NOT_READ, archive_for_sb3, saved_file, write_model
from l2l_gail.gail.spaces import check_trainable
from l2l_gail.gym_env import make_env
from l2l_gail.ppo import TensorEnv, TensorPPO
from l2l_gail.saved_models import read_model_parts

__all__ = ["SealedModel"]

_OF_LOAD = ("print_system_info", "force_reset")
_NO_SETTING = {"self", "args", "kwargs", "ppo_kwargs"}


class SealedModel:
    """Inherited from before an algorithm: spaces are checked, models sealed, and read as data."""

    _kind: ClassVar[str]
    """Whose models it reads; see :func:`~l2l_gail.gail.saving.kind_of_model`."""
    _attributes: ClassVar[dict[str, str]] = {}
    """Constructor arguments whose attributes have another name."""
    _optional_parts: ClassVar[tuple[str, ...]] = ()
    """Parts with a state that settings switch on and off, which ``load`` may replace."""
    tensorboard_log: str | None
    """Of SB3."""
    _settings_before: dict[str, Any]
    """While it is loaded; see :mod:`l2l_gail.gail.replaced`."""

    @classmethod
    def _plain(cls, file: Path, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what SB3's ``load`` is to take for the attributes that it would unpickle.

        Args:
            file: The model's archive.
            given: Attributes that the caller replaces.

        Returns:
            Those attributes as objects, and attributes that an older version did not save.
        """
        raise NotImplementedError

    @staticmethod
    def _wrap_env(
        env: GymEnv | TensorEnv | str, verbose: int = 0, monitor_wrapper: bool = True
    ) -> VecEnv:
        """Return the environment, or that of an id, as a ``VecEnv`` that can be learned in."""
        if isinstance(env, str):
            env = make_env(env)
        check_trainable(env)
        return TensorPPO._wrap_env(env, verbose, monitor_wrapper)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        if self.tensorboard_log is not None:
            self.tensorboard_log = str(home_expanded(self.tensorboard_log))
        return super()._setup_learn(*args, **kwargs)  # type: ignore[misc]

    @classmethod
    def load(
        cls,
        path: Any,
        env: GymEnv | TensorEnv | str | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *args: Any,
        trust_pickle: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a saved model, as ``PPO.load``, but without unpickling anything.

        Where it logged is not taken from the file; pass ``tensorboard_log`` to log again.
        ``PPO.load`` reads the file too, as PPO: its policy, without what imitates.

        Args:
            path: File written by ``save``, by this version or 0.1.0.
            env: Environment to train on in; none is needed to act.
            device: Where the model computes.
            custom_objects: As in ``PPO.load``.
            *args: As in ``PPO.load``.
            trust_pickle: Let SB3 unpickle what JSON cannot hold, which runs code in the file. A
                policy class, a schedule or a callable of your own needs it; nothing else does.
            **kwargs: As in ``PPO.load``; what the constructor takes replaces what was saved. A part
                that a setting switches on, or makes another one (another ``rule``, other ``decays``
                of ``credit``), begins afresh, the state of one that is switched off is left out.

        Raises:
            InputError: The file is missing, damaged or no model of this class, or needs unpickling;
                or there is no such setting, or ``env`` has other spaces.
        """
        cls._check_names(kwargs)
        names = [*kwargs]
        kwargs = {cls._attributes.get(name, name): value for name, value in kwargs.items()}
        if "demonstrations" in kwargs:
            kwargs["demonstrations"] = read_demonstrations(kwargs["demonstrations"])
        given = dict(custom_objects or {})
        with saved_file(path) as file:
            if not trust_pickle:
                objects, added = cls._plain(file, {**given, **kwargs})
                given, kwargs = objects | given, added | kwargs
            before = settings_before(file, kwargs)
            with fitting(file, of=_described(names)), _of_the_models_spaces(file):
                archive = archive_for_sb3(file)
                model = super().load(  # type: ignore[misc]
                    archive, env, device, given, *args, _settings_before=before, **kwargs
                )
        del model._settings_before
        return model

    @classmethod
    def _check_names(cls, names: Iterable[str]) -> None:
        """Refuse what neither the constructor takes nor a model keeps, and SB3 would just set."""
        makers = [vars(kind)["__init__"] for kind in cls.__mro__ if "__init__" in vars(kind)]
        known = {name for make in makers for name in inspect.signature(make).parameters}
        known |= {*SETTINGS, *cls._attributes.values(), *_OF_LOAD}
        for name in names:
            if name not in known:
                public = sorted(word for word in known - _NO_SETTING if not word.startswith("_"))
                check_choice(f"{cls.__name__}.load: the setting", name, public)

    def set_parameters(
        self,
        load_path_or_dict: Any,
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """Take over weights and states, as ``PPO.set_parameters``, without unpickling anything.

        Args:
            load_path_or_dict: What ``get_parameters`` returned, or a file that ``save`` wrote.
            exact_match: Whether all of the model's parts, and no others, have to be there. Where it
                is false, a policy that comes without an average is what ``predict`` acts by until
                the next rollout.
            device: As in ``PPO.set_parameters``.

        Raises:
            InputError: The file is missing or damaged, or its parts do not fit.
            ValueError: The parts of a dictionary do not fit, as with ``PPO``.
        """
        if not isinstance(load_path_or_dict, Mapping):
            with saved_file(load_path_or_dict) as file:
                _, given = read_model_parts(file)
                given.pop("pytorch_variables", None)
                with fitting(file, "load it with load()"):
                    self.set_parameters(given, exact_match, device)
            return
        parts = copy.deepcopy(dict(load_path_or_dict))  # optimizers keep what they are given
        mine = self.get_parameters()  # type: ignore[attr-defined]
        begun: list[str] = []
        if "_settings_before" in self.__dict__:
            left_out = {name for name in self._optional_parts if name not in mine}
            left_out |= {*(replaced := parts_to_begin(self, self._settings_before))}
            parts = {name: part for name, part in parts.items() if name not in left_out}
            may_begin = {*self._optional_parts, *replaced}
            begun = [name for name in mine if name in may_begin and name not in parts]
            parts |= {name: mine[name] for name in begun}
        else:
            _check_parts(parts, mine, exact_match)
            if "policy" in parts and "average" in mine and "average" not in parts:
                begun = ["average"]  # that of other policies is not of this one
        super().set_parameters(parts, exact_match, device)  # type: ignore[misc]
        self._begin_afresh(begun)

    def _begin_afresh(self, parts: list[str]) -> None:
        """Begin the parts that were not among those given, now that the others are as saved."""

    def save(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Save the model, as ``PPO.save``, with a checksum.

        Raises:
            InputError: A weight is not finite, which ``load`` would refuse: what lies at ``path``
                stays.
        """
        parameters = self.get_parameters()  # type: ignore[attr-defined]
        check_weights(parameters, f"this model is not saved to {path}")
        archive = io.BytesIO()
        super().save(archive, *args, **kwargs)  # type: ignore[misc]
        write_model(path, archive.getvalue())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), *NOT_READ]  # type: ignore[misc]


@contextlib.contextmanager
def _of_the_models_spaces(file: Path) -> Iterator[None]:
    """Say of an environment with other spaces that it is another one: no version has to do with it.

    Only SB3 knows what its wrappers make of an environment's spaces, so its comparison is waited
    for.
    """
    try:
        yield
    except ValueError as error:
        if "spaces do not match" not in str(error):
            raise
        raise InputError(
            f"{file} was trained in another environment: {one_line(error)}; give one with the "
            "spaces of the model, or none"
        ) from error


def _described(settings: Iterable[str]) -> str:
    """What may not fit a file: these settings are not of the file, and what else is, of us."""
    given = ", ".join(sorted({*settings} - {*_OF_LOAD, "demonstrations"}))
    return f"this version, or what is given beside it ({given})" if given else "this version"


def _check_parts(given: Collection[str], mine: Collection[str], exact_match: bool) -> None:
    """Refuse parts that a model does not have, or too few, before any of them is replaced."""
    if unknown := [name for name in given if name not in mine]:
        raise ValueError(f"the parts do not fit: this model has no {', '.join(unknown)}")
    lacking = [name for name in mine if name not in given]
    if lacking and exact_match:
        raise ValueError(f"the parts do not fit: they lack {', '.join(lacking)}")
