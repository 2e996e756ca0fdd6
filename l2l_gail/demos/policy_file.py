"""A deterministic policy as plain arrays: a small network that numpy evaluates.

The file is an ``.npz`` archive without pickle, with ``obs_mean``, ``obs_std``, the weights
``W0 b0 W1 b1 ... Wout bout`` (``W`` is ``(in, out)``) and optionally ``obs_clip``, ``activation``
(``tanh`` if absent), ``action_low`` and ``action_high``, ``classes`` (true or false)::

    x = clip((obs - obs_mean) / (obs_std + 1e-6), -obs_clip, obs_clip)
    h = act(... act(act(x @ W0 + b0) @ W1 + b1) ...)
    a = h @ Wout + bout                                  without action_low
    a = low + (tanh(h @ Wout + bout) + 1) / 2 (high - low)      with it (SAC, TD3)
    a = argmax(h @ Wout + bout)                                 with classes (Discrete actions)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2l_gail.checks import check_choice
from l2l_gail.demos.npz import read_arrays, sealed_arrays, write_arrays
from l2l_gail.errors import InputError

__all__ = ["ACTIVATIONS", "STD_FLOOR", "MlpPolicy"]

STD_FLOOR = 1e-6

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "leakyrelu": lambda x: np.where(x > 0, x, 0.01 * x),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}
"""Hidden activations by name, as PyTorch defines them with default arguments."""


@dataclass(frozen=True, eq=False)
class MlpPolicy:
    """A multi-layer perceptron from raw observations to actions.

    Attributes:
        obs_mean: Subtracted from observations, ``(obs_dim,)``.
        obs_std: Observations are divided by ``obs_std + 1e-6``, ``(obs_dim,)``.
        weights: One matrix per layer, ``(in, out)``.
        biases: One vector per layer, ``(out,)``.
        activation: Hidden activation, a key of ``ACTIVATIONS``.
        obs_clip: Normalised observations are clipped to plus and minus this.
        action_low: With ``action_high``, the output is squashed by tanh into these bounds,
            ``(act_dim,)``; None leaves it as it is.
        action_high: See ``action_low``.
        classes: Whether the action is the class with the largest output, of a ``Discrete`` space.

    Raises:
        InputError: Shapes that do not fit each other, NaN or infinite weights or so large ones that
            the action overflows, an unknown activation.
    """

    obs_mean: np.ndarray
    obs_std: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: str = "tanh"
    obs_clip: float = np.inf
    action_low: np.ndarray | None = None
    action_high: np.ndarray | None = None
    classes: bool = False

    def __post_init__(self) -> None:
        """Check that the layers fit each other, and that the mean observation gives an action."""
        check_choice("policy: activation", self.activation, ACTIVATIONS)
        if not self.weights or len(self.weights) != len(self.biases):
            raise InputError("policy: one weight matrix and one bias per layer are needed")
        statistics = [array for array in (self.obs_mean, self.obs_std) if array.ndim == 1]
        bounds = [bound for bound in (self.action_low, self.action_high) if bound is not None]
        numbers = (*self.weights, *self.biases, *bounds, *statistics)
        if len(statistics) != 2 or any(array.dtype.kind not in "fiu" for array in numbers):
            raise InputError("policy: obs_mean and obs_std must be vectors, and all be numbers")
        width = len(self.obs_mean)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.ndim != 2 or weight.shape[0] != width or bias.shape != weight.shape[1:]:
                raise InputError(
                    f"policy: layer {layer} has weights {weight.shape} and bias {bias.shape}, "
                    f"its input is {width} wide"
                )
            width = weight.shape[1]
        if width == 0 or len(self.obs_mean) == 0:
            raise InputError("policy: it has no observations or no actions")
        if self.obs_std.shape != self.obs_mean.shape or len(bounds) == 1:
            raise InputError("policy: obs_mean and obs_std, action_low and action_high are pairs")
        if bounds and self.classes:
            raise InputError("policy: classes have no bounds; leave action_low and action_high out")
        if any(bound.shape != (width,) for bound in bounds):
            raise InputError(f"policy: the action bounds do not fit the {width} actions")
        for array in (self.obs_mean, self.obs_std, *self.weights, *self.biases, *bounds):
            if not np.isfinite(array).all():
                raise InputError("policy: a weight or statistic is NaN or infinite")
        if (self.obs_std + STD_FLOOR <= 0).any() or not self.obs_clip > 0:
            raise InputError("policy: obs_std must not be negative, and obs_clip be positive")
        if len(bounds) == 2 and (bounds[0] > bounds[1]).any():
            raise InputError("policy: action_low is above action_high")
        with np.errstate(all="ignore"):
            act = self._outputs if self.classes else self
            if not np.isfinite(act(self.obs_mean[None, :])).all():
                raise InputError("policy: its numbers are so large that no action comes out")

    @property
    def obs_dim(self) -> int:
        """Width of an observation."""
        return len(self.obs_mean)

    @property
    def act_dim(self) -> int:
        """Width of an action; the number of classes there are."""
        return len(self.biases[-1])

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions for raw observations ``(n, obs_dim)``, or ``(n, *shape)``.

        They are ``(n, act_dim)`` float32; classes are ``(n,)`` int64.

        A row's action does not depend on the rows beside it, to the last bit.

        Raises:
            InputError: Observations of another width.
        """
        output = self._outputs(observations)
        if self.classes:
            return output.argmax(axis=1)
        if self.action_low is not None and self.action_high is not None:
            share = 0.5 * (np.tanh(output) + 1.0)
            output = self.action_low + share * (self.action_high - self.action_low)
        return output.astype(np.float32)

    def _outputs(self, observations: np.ndarray) -> np.ndarray:
        """What the last layer gives, ``(n, act_dim)`` float64.

        Products are stacked per row, since a matrix product rounds differently for different
        numbers of rows.
        """
        rows = np.asarray(observations, dtype=np.float64)
        n = len(rows)
        if rows.size != n * self.obs_dim:
            raise InputError(
                f"policy: observations of shape {rows.shape} are given, ({n}, {self.obs_dim}) is "
                "needed"
            )
        rows = rows.reshape(n, self.obs_dim)
        x = (rows - self.obs_mean) / (self.obs_std + STD_FLOOR)
        hidden = np.clip(x, -self.obs_clip, self.obs_clip)[:, None, :]  # (n, 1, obs_dim)
        activate = ACTIVATIONS[self.activation]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = activate(hidden @ weight + bias)
        return (hidden @ self.weights[-1] + self.biases[-1])[:, 0, :]

    @classmethod
    def load(cls, path: str | Path) -> MlpPolicy:
        """Read a policy file.

        Raises:
            InputError: The file is missing, damaged, or no policy.
        """
        arrays = read_arrays(path, required=("obs_mean", "obs_std", "Wout", "bout"))
        hidden = 0
        while f"W{hidden}" in arrays and f"b{hidden}" in arrays:
            hidden += 1
        layers = [*map(str, range(hidden)), "out"]
        activation = arrays.get("activation")
        clip = arrays.get("obs_clip")
        try:
            if clip is not None and (clip.shape != () or clip.dtype.kind not in "fiu"):
                raise InputError("policy: 'obs_clip' is no single number")
            return cls(
                obs_mean=arrays["obs_mean"],
                obs_std=arrays["obs_std"],
                weights=tuple(arrays[f"W{layer}"] for layer in layers),
                biases=tuple(arrays[f"b{layer}"] for layer in layers),
                activation="tanh" if activation is None else str(activation),
                obs_clip=np.inf if clip is None else float(clip),
                action_low=arrays.get("action_low"),
                action_high=arrays.get("action_high"),
                classes=bool(arrays.get("classes", False)),
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        # Arrays of another kind or shape under these names, text that is no text.
        except (TypeError, ValueError, IndexError, SystemError) as error:
            raise InputError(f"{path}: not a policy ({error})") from None

    def save(self, path: str | Path) -> None:
        """Write the file that :meth:`load` reads.

        Raises:
            InputError: The file exists, or cannot be written.
        """
        write_arrays(path, self._arrays())

    def to_bytes(self) -> bytes:
        """Return the content of that file."""
        return sealed_arrays(self._arrays())

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return what is in that file, by name."""
        last = len(self.weights) - 1
        arrays = {"obs_mean": self.obs_mean, "obs_std": self.obs_std}
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            name = "out" if layer == last else str(layer)
            arrays |= {f"W{name}": weight, f"b{name}": bias}
        arrays["activation"] = np.asarray(self.activation)
        if np.isfinite(self.obs_clip):
            arrays["obs_clip"] = np.asarray(self.obs_clip)
        if self.action_low is not None and self.action_high is not None:
            arrays |= {"action_low": self.action_low, "action_high": self.action_high}
        if self.classes:
            arrays["classes"] = np.asarray(True)
        return arrays
