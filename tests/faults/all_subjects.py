"""Everything that is attacked, in the order in which inputs are dealt out."""

from __future__ import annotations

from tests.faults.foreign_subjects import FOREIGN_SUBJECTS
from tests.faults.run_subjects import Subject
from tests.faults.subjects import SUBJECTS as OF_FILES
from tests.faults.text_subjects import SLOW_SUBJECTS, TEXT_SUBJECTS

__all__ = ["FOREIGN_SUBJECTS", "SLOW", "SUBJECTS"]

SUBJECTS: dict[str, Subject] = {**OF_FILES, **TEXT_SUBJECTS}
SLOW: dict[str, Subject] = {**FOREIGN_SUBJECTS, **SLOW_SUBJECTS}
"""Those of which each input takes long: it starts a process, asks scripts, is drawn."""
