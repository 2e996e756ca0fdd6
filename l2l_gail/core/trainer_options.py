"""In which order the players of a game are trained, and how a rule's meta-gradient is found."""

from __future__ import annotations

from typing import Any, Literal, get_args

from l2l_gail.checks import check_counts, check_fraction, check_kind, is_real
from l2l_gail.core.game import Game
from l2l_gail.core.rule import UpdateRule
from l2l_gail.errors import InputError

__all__ = ["MetaMode", "Order", "check_numbers", "check_order", "check_players", "check_trained"]

Order = Literal["fused", "alternating"]
"""How leader and rule are trained in one step: from one backward pass, or one after the other."""
MetaMode = Literal["reverse", "forward", "next"]
"""How the gradient that trains a rule comes about; see ``L2LTrainer``."""


def check_players(game: Any, rule: Any) -> None:
    """Refuse what is no game or no rule: its class, its name or a ``torch`` optimizer, say.

    Raises:
        InputError: In one line.
    """
    check_kind("game", game, Game, "an instance", optional=False)
    hint = "such as l2l_gail.core.Adam(1e-2), or build_rule('adam', lr=1e-2)"
    check_kind("rule", rule, UpdateRule, hint, optional=False)


def check_numbers(*, meta_every: int, max_meta_norm: float, meta_decay: float) -> None:
    """Refuse numbers that would train the rule upwards, or not at all.

    Raises:
        InputError: In one line.
    """
    check_counts(meta_every=meta_every)
    if not is_real(max_meta_norm) or not max_meta_norm > 0:
        raise InputError(
            f"max_meta_norm must be above 0, not {max_meta_norm}; float('inf') clips nothing"
        )
    check_fraction("meta_decay", meta_decay)


def check_order(game: Game, order: Order | None, meta_on: str, *, both: bool) -> Order:
    """Return the order, fused by default where one backward pass can train both players.

    Args:
        game: The game.
        order: The one that is asked for.
        meta_on: What the meta-loss is computed on.
        both: Whether leader and rule are both trained; else there is nothing to order.

    Raises:
        InputError: There is no such order, or it would train the rule on something else than the
            game's meta-loss.
    """
    if order not in (None, *get_args(Order)):
        raise InputError(f"order must be 'fused' or 'alternating', not {order!r}")
    if meta_on not in ("last", "mean"):
        raise InputError(f"meta_on must be 'last' or 'mean', not {meta_on!r}")
    obstacle = _why_not_fused(game, meta_on)
    if order == "fused" and obstacle and both:
        raise InputError(
            f"order='fused' trains the rule on minus the leader's loss, but {obstacle}; "
            "use order='alternating'"
        )
    return order or ("alternating" if obstacle else "fused")


def check_trained(meta_mode: str, meta_on: str, *, alone: bool) -> None:
    """Refuse a way to the meta-gradient that there is not, or not for such a training.

    Args:
        meta_mode: The one that is asked for.
        meta_on: What the meta-loss is computed on.
        alone: Whether the follower is persistent and the leader trained elsewhere, or there is no
            rule to train.

    Raises:
        InputError: In one line.
    """
    if meta_mode not in get_args(MetaMode):
        modes = ", ".join(map(repr, get_args(MetaMode)))
        raise InputError(f"meta_mode must be one of {modes}, not {meta_mode!r}")
    if meta_mode != "reverse" and (not alone or meta_on != "last"):
        raise InputError(
            f"meta_mode={meta_mode!r} is for a persistent follower whose leader is trained "
            "elsewhere, and for its last point; use meta_mode='reverse'"
        )


def _why_not_fused(game: Game, meta_on: str) -> str | None:
    """Return why one backward pass cannot train both leader and rule, or ``None`` if it can."""
    name = type(game).__name__
    if not game.zero_sum:
        return f"{name} is not zero-sum"
    if type(game).meta_loss is not Game.meta_loss:
        return f"{name} has a meta-loss of its own"
    if meta_on != "last":
        return f"meta_on={meta_on!r} asks for more than the last follower"
    return None
