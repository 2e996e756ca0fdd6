"""Draw ``two_games.svg``, the two games in one picture: ``python docs/images/two_games.py``.

Plain SVG without fonts or scripts of its own, so that it shows alike on a page, in a README and on
paper; a test holds the file against this script.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

FILE = Path(__file__).with_suffix(".svg")
WIDTH, HEIGHT = 860, 452
INK, FAINT = "#1f2933", "#6b7785"
FILLS = {"rule": "#fde8c8", "follower": "#d9e8fb", "leader": "#dcf2e0", "data": "#f1f3f5"}


def box(x: int, y: int, width: int, height: int, kind: str, title: str, *lines: str) -> list[str]:
    """Return a box with a bold title and lines of text below it, all centred."""
    rect = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{FILLS[kind]}"'
    parts = [f'{rect} stroke="{INK}" stroke-width="1.2"/>']
    middle, top = x + width // 2, y + height // 2 - 9 * len(lines) + 5
    parts.append(text(middle, top, title, bold=True))
    parts += [text(middle, top + 18 * i, line) for i, line in enumerate(lines, start=1)]
    return parts


def text(
    x: int, y: int, words: str, *, bold: bool = False, anchor: str = "middle", size: int = 14
) -> str:
    """Return one line of text."""
    weight = ' font-weight="bold"' if bold else ""
    colour = INK if anchor == "middle" else FAINT
    place = f'x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place}{weight} fill="{colour}">{escape(words)}</text>'


def arrow(x: int, y: int, to_y: int, words: str, *, left: bool) -> list[str]:
    """Return a vertical arrow with words beside it."""
    line = f'<path d="M{x} {y} L{x} {to_y}" stroke="{INK}" stroke-width="1.6"'
    beside = (x - 10, "end") if left else (x + 10, "start")
    label = text(beside[0], (y + to_y) // 2 + 5, words, anchor=beside[1], size=13)
    return [f'{line} marker-end="url(#head)" fill="none"/>', label]


def game(x: int, title: str, follower: list[str], leader: list[str], words: list[str]) -> list[str]:
    """Return one game: what the rule moves, what answers, and what both live on."""
    middle = x + 190
    parts = [text(middle, 22, title, bold=True, size=16)]
    parts += arrow(middle - 30, 148, 102, "gradient", left=True)
    parts += arrow(middle + 30, 102, 148, "step", left=False)
    parts += box(x, 150, 380, 66, "follower", *follower)
    parts += arrow(middle - 30, 298, 218, words[0], left=True)
    parts += arrow(middle + 30, 218, 298, words[1], left=False)
    parts += box(x, 300, 380, 66, "leader", *leader)
    parts += arrow(middle, 402, 368, "", left=False)
    parts += box(x, 404, 380, 36, "data", words[2])
    return parts


def picture() -> str:
    """Return the whole SVG."""
    head = (
        '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{INK}"/></marker>'
    )
    title = "A learned optimizer plays the inner player of two games"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}" font-family="Helvetica, Arial, sans-serif">',
        f"<title>{title}</title>",
        f"<defs>{head}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *game(
            30,
            "Imitation on MuJoCo: GAIL, L2L-GAIL",
            ["discriminator  w", "tells expert from policy", "inner player: its weights"],
            ["policy  π", "acts so as to be taken for the expert", "outer player: PPO"],
            ["rollouts", "learned reward", "demonstrations and simulator"],
        ),
        *game(
            450,
            "Adversarial training on CIFAR: Grad L2L",
            ["perturbation  x'", "raises the classifier's loss", "inner player: the pixels"],
            ["classifier  θ", "lowers its loss at the perturbed images", "outer player: SGD"],
            ["weights", "perturbed images", "labelled images"],
        ),
        *box(
            30,
            36,
            800,
            64,
            "rule",
            "update rule",
            "hand-designed (Adam, Muon, FGSM, PGD, ...) or learned: a network  φ  trained in play",
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    FILE.write_text(picture(), encoding="utf-8")
