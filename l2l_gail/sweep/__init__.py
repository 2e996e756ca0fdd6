"""Sweeps: seeds x methods x environments x settings of both scripts, from one file.

``python -m l2l_gail.sweep SPEC.toml`` runs them; ``docs/scale.md`` says what a file holds.
"""

from l2l_gail.sweep.rows import Row, run_row, state_of
from l2l_gail.sweep.spec import Spec, read_spec

__all__ = ["Row", "Spec", "read_spec", "run_row", "state_of"]
