"""Reading a Stable-Baselines3 model without running anything that is in it.

``PPO.load`` and its like unpickle objects from the file, which runs whatever code the file's author
put there. A model of the usual kind does not need that: its ``policy.pth`` holds plain tensors, and
its ``data`` is JSON whose plain fields give the widths of the spaces, the kind of policy and the
activation, from SB3 1.0 and gym on. The deterministic action of PPO, A2C, SAC, TD3, DDPG and DQN
with ``MlpPolicy``, and of sb3_contrib's TQC, is rebuilt from these; anything else is refused, and
can be read by SB3 itself if the file is trusted and the class is its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from torch import Tensor

from l2l_gail.demos.policy_file import ACTIVATIONS, STD_FLOOR, MlpPolicy
from l2l_gail.errors import InputError
from l2l_gail.saved_models import OldTensorsError, read_model_parts
from l2l_gail.saved_spaces import class_name

__all__ = ["CONTRIB_ADVICE", "is_of_contrib", "linear_layers", "policy_module", "read_sb3_policy"]

CONTRIB_ADVICE = (
    "Stable-Baselines3 itself does not have its class, which sb3_contrib has: load it with that in "
    "Python and give its predict to record_episodes"
)
"""What to do with a model of which not even SB3's ``load`` makes a policy."""

# Settings that leave the deterministic action what the layers and the activation say it is.
_UNDERSTOOD = {
    "activation_fn", "clip_mean", "full_std", "log_std_init", "n_critics", "n_quantiles",
    "net_arch", "normalize_images", "optimizer_class", "optimizer_kwargs", "ortho_init",
    "sde_net_arch", "share_features_extractor", "squash_output", "use_expln", "use_sde",
}  # fmt: skip

_ON_POLICY = "stable_baselines3.common.policies"
_SAC = "stable_baselines3.sac.policies"
_TD3 = "stable_baselines3.td3.policies"
_DQN = "stable_baselines3.dqn.policies"
_TQC = "sb3_contrib.tqc.policies"  # its actor is SAC's, layer by layer

Layers = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]


def read_sb3_policy(path: str | Path, action_space: Space) -> MlpPolicy:
    """Rebuild the deterministic policy of a saved PPO, A2C, SAC, TD3, DDPG, DQN or TQC model.

    The observations that the model was trained on are taken as raw; statistics of a
    ``VecNormalize`` are in another file and must be put in front by the caller.

    Args:
        path: The ``.zip`` that SB3's ``save`` wrote.
        action_space: Actions of the environment it is to play in, ``(act_dim,)`` or ``Discrete``.

    Returns:
        The policy; its normalisation does nothing.

    Raises:
        InputError: Damaged, not a model of SB3, of other action bounds, or of a kind that cannot
            be rebuilt from plain fields.
    """
    data, state = _read_zip(Path(path))
    kind = policy_module(data)
    settings = _field(data, "policy_kwargs")
    unknown = {key for key in settings if not key.startswith(":")} - _UNDERSTOOD
    if kind not in (_ON_POLICY, _SAC, _TD3, _DQN, _TQC):
        raise _not_plain(path, kind, f"its policy class is of {kind}")
    if unknown:
        made_with = ", ".join(sorted(unknown))
        raise _not_plain(path, kind, f"it was made with policy_kwargs {made_with}")
    if data.get("use_sde") and kind in (_SAC, _TQC):
        raise _not_plain(path, kind, "state-dependent noise clips its mean action")
    if not isinstance(action_space, (Box, Discrete)) or len(action_space.shape or ()) > 1:
        raise _not_plain(path, kind, f"actions of {action_space} are no plain numbers")
    _check_actions(path, _field(data, "action_space"), action_space)
    activation = _activation(settings, default="tanh" if kind == _ON_POLICY else "relu")
    if activation is None:
        raise _not_plain(path, kind, f"its activation is {settings.get('activation_fn')}")
    try:
        if kind == _ON_POLICY:
            squash = bool(settings.get("squash_output"))
            shared = _shared_layers(state)
            layers = linear_layers(state, hidden="mlp_extractor.policy_net", out="action_net")
            layers = shared[0] + layers[0], shared[1] + layers[1]
        elif kind in (_SAC, _TQC):
            squash = True
            layers = linear_layers(state, hidden="actor.latent_pi", out="actor.mu")
        elif kind == _DQN:
            squash = False
            layers = linear_layers(state, hidden="q_net.q_net", out=None)
        else:
            squash = True
            layers = linear_layers(state, hidden="actor.mu", out=None)
    except KeyError as error:
        reason = f"its network is no plain perceptron ({error.args[0]})"
        raise _not_plain(path, kind, reason) from None
    weights, biases = layers
    width = weights[0].shape[0]
    if isinstance(action_space, Discrete) and weights[-1].shape[1] != action_space.n:
        raise InputError(
            f"{path} chooses from {weights[-1].shape[1]} actions, the environment has "
            f"{action_space.n}: give a model of this environment"
        )
    if _shape(_field(data, "observation_space")) != [width]:
        raise _not_plain(path, kind, "its observations are not flat")
    bounds = action_space if squash and isinstance(action_space, Box) else None
    try:
        return MlpPolicy(
            obs_mean=np.zeros(width),
            # exactly 1 after the floor is added: nothing is normalised
            obs_std=np.full(width, 1.0 - STD_FLOOR),
            weights=weights,
            biases=biases,
            activation=activation,
            action_low=bounds.low.astype(np.float64) if bounds else None,
            action_high=bounds.high.astype(np.float64) if bounds else None,
            classes=isinstance(action_space, Discrete),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def policy_module(data: Mapping[str, Any]) -> str:
    """Return the module of a saved model's policy class, empty if the archive does not say it.

    Args:
        data: The JSON of the archive.
    """
    return str(_field(data, "policy_class").get("__module__", ""))


def is_of_contrib(module: str) -> bool:
    """Whether a policy class of this module is of sb3_contrib, which SB3 does not know."""
    return module.partition(".")[0] == "sb3_contrib"


def linear_layers(state: Mapping[str, Tensor], *, hidden: str, out: str | None) -> Layers:
    """The linear layers of a sequential network and of the layer behind it.

    Args:
        state: A policy's ``state_dict``.
        hidden: Prefix of the network: ``<hidden>.0.weight``, ``<hidden>.2.weight``, ... with an
            activation between two.
        out: Prefix of the last layer; None if the network's own last layer is the last.

    Returns:
        Weights ``(in, out)`` and biases ``(out,)``, from input to output.

    Raises:
        KeyError: The network holds other parameters than linear layers at every second place.
    """
    pattern = re.compile(re.escape(hidden) + r"\.(\d{1,4})\.weight")
    places = sorted(int(match[1]) for key in state if (match := pattern.fullmatch(key)))
    names = [f"{hidden}.{place}" for place in places]
    expected = {f"{name}.{part}" for name in names for part in ("weight", "bias")}
    found = {key for key in state if key.startswith(f"{hidden}.")}
    if places != list(range(0, 2 * len(places), 2)) or found != expected:
        strange = sorted(found.symmetric_difference(expected)) or names
        raise KeyError(", ".join(strange))
    if out is not None:
        names.append(out)
    if not names:
        raise KeyError(hidden)
    tensors = [(state[f"{name}.weight"], state[f"{name}.bias"]) for name in names]
    for weight, bias in tensors:
        floating = weight.is_floating_point() and bias.is_floating_point()
        if not floating or weight.ndim != 2 or bias.ndim != 1:
            raise KeyError(hidden)
    # Half precision, which NumPy has only one kind of, becomes single.
    weights = tuple(_as_array(weight.T) for weight, _ in tensors)
    biases = tuple(_as_array(bias) for _, bias in tensors)
    return weights, biases


def _as_array(tensor: Tensor) -> np.ndarray:
    precise = tensor.dtype in (torch.float32, torch.float64)
    return (tensor if precise else tensor.float()).detach().cpu().numpy().copy()


def _read_zip(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON and the policy's parameters of a saved model."""
    try:
        data, tensors = read_model_parts(path, lambda name: name == "policy")
    except OldTensorsError as error:
        raise _not_plain(path, "", error.reason) from None
    state = tensors["policy"] if "policy" in tensors else None
    if not isinstance(state, dict):
        raise InputError(f"{path} is no model of Stable-Baselines3: it has no policy")
    return data, {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _field(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _shape(space: Mapping[str, Any]) -> Any:
    """A space's shape, which gym before 0.21 spells without the underscore."""
    return space.get("_shape", space.get("shape"))


def _shared_layers(state: Mapping[str, Tensor]) -> Layers:
    """The layers that policy and value share in models of SB3 before 1.8; mostly none."""
    prefix = "mlp_extractor.shared_net"
    if not any(key.startswith(f"{prefix}.") for key in state):
        return (), ()
    return linear_layers(state, hidden=prefix, out=None)


def _activation(settings: Mapping[str, Any], default: str) -> str | None:
    """The activation's name from the text that SB3 writes for a class; None if it is not known."""
    text = settings.get("activation_fn")
    if text is None:
        return default
    match = re.fullmatch(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>", str(text))
    name = match[1].lower() if match else ""
    return name if name in ACTIVATIONS else None


def _check_actions(path: str | Path, saved: Mapping[str, Any], space: Box | Discrete) -> None:
    """Refuse a model whose action space differs from the environment's."""
    kind = class_name(saved)
    if kind != type(space).__name__:
        raise InputError(
            f"{path} acts in a space {kind}, the environment in {space}: give a model of this "
            "environment"
        )
    if isinstance(space, Discrete):
        return
    shape = _shape(saved)
    if shape != list(space.shape):
        raise InputError(
            f"{path} acts in a space of shape {shape}, the environment in {list(space.shape)}: "
            "give a model of this environment"
        )
    for name, bound in (("low", space.low), ("high", space.high)):
        numbers = _numbers(str(saved.get(name)))
        # The text has eight digits.
        if numbers.shape == bound.shape and not np.allclose(numbers, bound, rtol=1e-5):
            raise InputError(
                f"{path} has action bound {name} {numbers.tolist()}, the environment "
                f"{bound.tolist()}: give a model of this environment"
            )


def _numbers(text: str) -> np.ndarray:
    """Numbers from the text of a numpy array; empty if it is none."""
    try:
        return np.array([float(part) for part in text.strip("[]").split()])
    except ValueError:
        return np.array([])


def _not_plain(path: str | Path, kind: str, reason: str) -> InputError:
    advice = CONTRIB_ADVICE
    if not is_of_contrib(kind):
        advice = (
            "--trust-pickle lets Stable-Baselines3 load it, which runs code stored in the file: "
            "only for files you trust"
        )
    return InputError(f"{path} cannot be rebuilt from its plain fields: {reason}; {advice}")
