"""The parts of the comparison: results of many runs as tables, a figure, a TensorBoard digest."""

from l2l_gail.comparison.digest import write_digest
from l2l_gail.comparison.figure import draw_figure
from l2l_gail.comparison.results import Curve, Estimate, MethodResult, Section, collect
from l2l_gail.comparison.tables import Table, section_notes, section_tables

__all__ = [
    "Curve",
    "Estimate",
    "MethodResult",
    "Section",
    "Table",
    "collect",
    "draw_figure",
    "section_notes",
    "section_tables",
    "write_digest",
]
