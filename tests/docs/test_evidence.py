"""Figures that a page takes from ``docs/results-*.md``, against the tables there."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

GAIL = (ROOT / "docs" / "gail.md").read_text(encoding="utf-8")
RESULTS = "".join(
    page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("results-*.md"))
)


def table(text: str, *, after: str, first: str) -> dict[tuple[str, str], int]:
    """Return the whole numbers of the first table after a line, by row and column."""
    lines = text[text.index(after) :].splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(first))
    header, _, *rows = (
        [cell.strip(" `*") for cell in line.strip("|").split("|")]
        for line in lines[begin:]
        if line.startswith("|") or line == ""
    )
    found = {}
    for row in rows:
        if row == [""]:
            break
        for name, cell in zip(header[1:], row[1:], strict=True):
            if re.fullmatch(r"-?\d+", cell):
                found[row[0], name] = int(cell)
    return found


def test_the_table_of_rewards_and_penalties_is_that_of_the_results() -> None:
    told = table(GAIL, after="The evidence, the mean return", first="| | `gail`")
    assert len(told) >= 10
    rewards = table(RESULTS, after="<!-- begin rewards.cells -->", first="| setting")
    cells = table(RESULTS, after="<!-- begin settings.cells -->", first="| setting")
    decay = RESULTS[RESULTS.index("<!-- begin decay.methods -->") :]
    bare = table(decay, after="**HalfCheetah-v5, no_penalty**", first="| method")
    with_penalty = table(decay, after="**HalfCheetah-v5**", first="| method")
    settings = {"penalty 1": "default", "penalty 10": "penalty_10", "no penalty": "no_penalty"}
    for (row, reward), value in told.items():
        setting = settings[row]
        if reward == "gail":
            expected = cells[setting, "muon_1e-2"]
        elif reward == "gail`, weight decay 5":
            expected = (bare if row == "no penalty" else with_penalty)["decay_5", "A"]
        else:
            older = {"logit": "airl"}.get(reward, reward)  # its name in those records
            expected = rewards[setting, older]
        assert value == expected, (row, reward)
