"""The rule that comes with the package, trained offline.

``data/pretrained.pt`` is a sealed file of plain data, as every rule on disk; ``load_rule_meta``
reads what it was trained on, by which command and versions, and what it cost.
``benchmarks/pretrain.py`` makes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l2l_gail.core.checkpoint import load_rule, rule_from_dict, rule_to_dict
from l2l_gail.core.registry import register_builder
from l2l_gail.core.rule import UpdateRule
from l2l_gail.errors import InputError

__all__ = ["PRETRAINED", "load_pretrained"]

PRETRAINED = Path(__file__).parent / "data" / "pretrained.pt"
"""Where the file lies."""


@register_builder("pretrained")
def load_pretrained(path: str | Path = PRETRAINED, **changes: Any) -> UpdateRule:
    """Return the pre-trained rule, which goes on learning where it is used.

    The same by name is ``build_rule("pretrained")``. The rule is of a registered class and holds
    the trained weights: a model that is saved with it carries them along, and does not depend on
    the file.

    Args:
        path: The package's, or another file of :func:`~l2l_gail.core.checkpoint.save_rule`.
        **changes: Arguments of the rule that are to differ from the file's: ``step_lr_ratio``, ...

    Raises:
        InputError: The file is missing or damaged, or the rule does not take these arguments.
    """
    rule = load_rule(path)
    if not changes:
        return rule
    unknown = sorted(set(changes) - set(rule.config))
    if unknown:
        takes = ", ".join(sorted(rule.config))
        raise InputError(f"the rule of {path} takes no {', '.join(unknown)}; it takes {takes}")
    saved = rule_to_dict(rule)
    return rule_from_dict({**saved, "config": {**saved["config"], **changes}})
