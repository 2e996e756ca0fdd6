"""Whether demonstrated actions do what actions do in the environment.

What an action adds to the change of an observation, beyond what the observation itself foretells,
is told by partial regression (Frisch & Waugh 1933): changes and actions are each freed of a
quadratic function of the observation, and what is left of one is regressed on what is left of the
other. In the environment the policy's noise makes this an experiment, and gives the effects ``B``.
Of demonstrations ``B`` foretells changes, by the action of the same row if all is well. Where it
foretells the opposite, or the action of a neighbouring row does it much better, something is
amiss. An expert whose actions follow from its observations almost linearly shows too little of
this; then nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Recording", "amiss"]

_FEWEST_ROWS = 200
_MOST_ROWS = 5_000
_MOST_ENTRIES = 400
_MOST_SQUARED = 30  # entries, whose products are taken in too
_RIDGE = 1e-3
_BLOCKS = 10
_AGREEING = 9
"""Of as many blocks of the demonstrations, how many must say the same."""

_KNOWN = 0.1
"""Least share of an entry's unforeseen change that actions explain in the environment."""

_FREE, _FREE_SHARE = 0.015, 0.005
"""How much of an action must not follow from the observation: in units of the environment's
standard deviation of actions, and as a share of its own variance. Of less, an error of the
quadratic fit makes up most: a network that was hardly trained acts almost linearly."""

_OPPOSITE = -0.15
_OPPOSITE_ENTRY, _OPPOSITE_GAIN = -0.07, -0.4
_SHIFTED, _NOT_SHIFTED = 0.2, 0.5
"""Correlations, and gains: 1 for actions that do what they do in the environment."""


@dataclass(frozen=True)
class Recording:
    """Steps in the order of time, episode after episode.

    Attributes:
        obs: Observations ``(n, k)``.
        acts: Actions as they were applied, ``(n, m)``.
        next_obs: The observations that followed, ``(n, k)``.
    """

    obs: np.ndarray
    acts: np.ndarray
    next_obs: np.ndarray

    def spread(self) -> Recording:
        """At most ``_MOST_ROWS`` steps, evenly spread."""
        every = -(-len(self.obs) // _MOST_ROWS)
        return Recording(*(_float64(a[::every]) for a in (self.obs, self.acts, self.next_obs)))

    def inner(self) -> tuple[Recording, np.ndarray, np.ndarray]:
        """The first ``_MOST_ROWS`` steps between two others, with the actions before and after."""
        follows = (self.next_obs[:-1] == self.obs[1:]).all(axis=1)
        rows = np.flatnonzero(follows[:-1] & follows[1:])[:_MOST_ROWS] + 1
        steps = Recording(*(_float64(a[rows]) for a in (self.obs, self.acts, self.next_obs)))
        return steps, _float64(self.acts[rows - 1]), _float64(self.acts[rows + 1])


def amiss(demonstrated: Recording, here: Recording) -> list[str]:
    """Tell what actions of demonstrations may suffer from, most likely first.

    Args:
        demonstrated: Steps of the expert.
        here: Steps of the environment, under actions with noise of their own.

    Returns:
        Phrases that follow "the actions look"; none where all is well, or where it cannot be told.
    """
    width = demonstrated.obs.shape[1]
    if not 0 < width <= _MOST_ENTRIES or len(here.obs) < _FEWEST_ROWS:
        return []
    if not all(np.isfinite(array).all() for array in (here.obs, here.acts, here.next_obs)):
        return []  # what is wrong then, others say
    effects = _effects(here.spread())
    steps, before, after = demonstrated.inner()
    if len(steps.obs) < _FEWEST_ROWS or not effects.any():
        return []
    own, earlier, later, changes = _unforeseen(
        steps.obs, steps.acts, before, after, steps.next_obs - steps.obs
    )
    # Contacts and falls make a few changes huge: they may not outweigh all others.
    unit = np.maximum(1.4826 * np.median(np.abs(changes), axis=0), 0.1 * changes.std(axis=0))
    size = np.abs(steps.next_obs - steps.obs).max(axis=0, initial=0.0)
    judged = (unit > 1e-9 * size) & effects.any(axis=0)
    if not judged.any():
        return []
    changes = np.clip(changes[:, judged] / unit[judged], -4, 4)
    effects = effects[:, judged] / unit[judged]
    free = _is_free(own, steps.acts, here.acts)
    if not free.any():
        return []
    correlation, in_blocks = _correlations(own @ effects, changes)
    found = []
    if correlation < _OPPOSITE and _agree(in_blocks < 0):
        found.append((-correlation, "to have the opposite sign"))
    for acts, text in (
        (earlier, "to be one step early beside the observations"),
        (later, "to be one step late beside the observations"),
    ):
        other, others = _correlations(acts @ effects, changes)
        much = other > _SHIFTED and correlation < _NOT_SHIFTED * other
        if much and _agree(in_blocks < others):
            found.append((other, text))
    if not found:
        opposite = np.flatnonzero(free & _opposite(own, changes, effects))
        if len(opposite):
            entries = "entry" if len(opposite) == 1 else "entries"
            numbers = ", ".join(map(str, opposite))
            return [f"to have the opposite sign in {entries} {numbers}"]
    return [text for _, text in sorted(found, reverse=True)]


def _effects(here: Recording) -> np.ndarray:
    """What a unit of each action adds to each entry's change, ``(m, k)``; 0 where it is unclear."""
    acts, changes = _unforeseen(here.obs, here.acts, here.next_obs - here.obs)
    effects = np.linalg.lstsq(acts, changes, rcond=None)[0]
    total = np.square(changes).sum(axis=0)
    left = np.square(changes - acts @ effects).sum(axis=0)
    return np.asarray(effects * (left < (1 - _KNOWN) * total))


def _unforeseen(obs: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """Arrays ``(n, ...)`` less their ridge regressions on a quadratic function of ``obs``."""
    x = (obs - obs.mean(axis=0)) / np.maximum(obs.std(axis=0), 1e-8)
    x = np.clip(x, -5, 5)
    features, width = [np.ones((len(x), 1)), x], x.shape[1]
    if width <= _MOST_SQUARED and 3 * (width + 1) * (width + 2) // 2 <= len(x):
        i, j = np.triu_indices(width)
        features.append(x[:, i] * x[:, j])
    design = np.concatenate(features, axis=1)
    target = np.concatenate(columns, axis=1)
    gram = design.T @ design
    gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram) / len(gram)
    left = target - design @ np.linalg.solve(gram, design.T @ target)
    return np.split(left, np.cumsum([c.shape[1] for c in columns])[:-1], axis=1)


def _correlations(foretold: np.ndarray, changes: np.ndarray) -> tuple[float, np.ndarray]:
    """Uncentred correlation of two arrays ``(n, k)``; and that in each block of rows."""
    sums = np.stack(
        [(foretold * changes).sum(axis=1), (foretold**2).sum(axis=1), (changes**2).sum(axis=1)]
    )
    blocks = np.stack([part.sum(axis=1) for part in np.array_split(sums, _BLOCKS, axis=1)])
    product, first, second = blocks.T
    whole = product.sum() / np.sqrt(first.sum() * second.sum() + 1e-300)
    return float(whole), product / np.sqrt(first * second + 1e-300)


def _is_free(left: np.ndarray, acts: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Which entries of the actions do not just follow from the observation, ``(m,)``."""
    size, own, usual = left.std(axis=0), acts.std(axis=0), here.std(axis=0)
    return np.asarray((size > _FREE * usual) & (size**2 > _FREE_SHARE * own**2))


def _opposite(acts: np.ndarray, changes: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """Which entries of the actions do the opposite of what they do in the environment."""
    alike = effects @ effects.T  # (m, m)

    def gains(rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gram = (acts[rows].T @ acts[rows]) * alike
        gram[np.diag_indices_from(gram)] *= 1 + 1e-6
        gram[np.diag_indices_from(gram)] += 1e-300
        products = np.einsum("tm,mk,tk->m", acts[rows], effects, changes[rows])
        inverse = np.linalg.pinv(gram, hermitian=True)
        return inverse @ products, np.diag(inverse)

    gain, variance = gains(slice(None))
    partial = gain / np.sqrt(np.maximum(variance, 1e-300) * np.square(changes).sum() + 1e-300)
    blocks = np.stack([gains(rows)[0] for rows in np.array_split(np.arange(len(acts)), _BLOCKS)])
    agree = (blocks < 0).sum(axis=0) >= _AGREEING
    return np.asarray((gain < _OPPOSITE_GAIN) & (partial < _OPPOSITE_ENTRY) & agree)


def _agree(blocks: np.ndarray) -> bool:
    return int(blocks.sum()) >= _AGREEING


def _float64(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, dtype=np.float64)
