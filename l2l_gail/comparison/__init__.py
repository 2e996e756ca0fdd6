"""The parts of the comparison: runs as methods, their tables, pictures and TensorBoard boards."""

from l2l_gail.comparison.board_events import Picture, write_board
from l2l_gail.comparison.boards import Board, boards_of
from l2l_gail.comparison.estimates import Curve, Estimate
from l2l_gail.comparison.figures import draw_figure
from l2l_gail.comparison.grouping import collect
from l2l_gail.comparison.reading import Found, Unfinished, find
from l2l_gail.comparison.results import MethodResult, Section
from l2l_gail.comparison.tables import Table, section_notes, section_tables
from l2l_gail.comparison.write import compare

__all__ = [
    "Board",
    "Curve",
    "Estimate",
    "Found",
    "MethodResult",
    "Picture",
    "Section",
    "Table",
    "Unfinished",
    "boards_of",
    "collect",
    "compare",
    "draw_figure",
    "find",
    "section_notes",
    "section_tables",
    "write_board",
]
