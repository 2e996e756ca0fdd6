"""How demonstrated episodes end, and what that says about rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Endings"]

_MOST = 0.5


@dataclass(frozen=True)
class Endings:
    """How the episodes of demonstrations end.

    A learned reward is paid for each step, so its sign alone makes a policy end episodes or avoid
    the end, whatever the demonstrations show (Kostrikov et al. 2019, arXiv 1809.02925, section
    4.1). Where the expert ends its episodes itself, say by reaching a goal, a reward that is always
    positive pays more for never finishing; where the expert lasts to the time limit, one that is
    always negative pays for failing early.

    Attributes:
        terminal: Episodes that ended in a terminal state.
        time_limit: Episodes that ended at their time limit.
        cut_off: Episodes that end in neither, where the recording was stopped.
    """

    terminal: int
    time_limit: int
    cut_off: int

    @property
    def terminal_share(self) -> float:
        """Share of the episodes that ended in a terminal state, among those that ended."""
        return self.terminal / max(1, self.terminal + self.time_limit)

    def conflict(self, sign: Literal["positive", "negative", "either"]) -> str | None:
        """What speaks against a reward of this sign; None if nothing does.

        Args:
            sign: Of the reward at every step: never negative, never positive, or either.

        Returns:
            One line for a warning, without advice on which reward to take.
        """
        ended = self.terminal + self.time_limit
        if sign == "positive" and self.terminal_share > _MOST:
            return (
                f"{self.terminal} of {ended} demonstrated episodes end in a terminal state before "
                "their time limit, as if the expert ended them on purpose; a reward that is never "
                "negative pays the policy for not ending them"
            )
        if sign == "negative" and self.time_limit and self.terminal_share < 1 - _MOST:
            return (
                f"{self.time_limit} of {ended} demonstrated episodes last to their time limit; "
                "where a failure ends an episode, a reward that is never positive pays the policy "
                "for failing early"
            )
        return None
