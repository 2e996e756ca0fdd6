"""What the site needs beyond the files in ``docs``: pages from elsewhere, and links to them.

In the repository a page links to ``../benchmarks/README.md``, so that it can be followed there.  On
the site that file is the page ``benchmarks.md``; a link to a file that is no page becomes text.
Docstrings refer to names as Sphinx does, which editors know too.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}
"""Pages of the site by their place in the repository, where that is outside ``docs``."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


_ROLE = re.compile(r":(?:class|mod|func|meth|attr|data|exc):<code>(~?)([\w.]+)</code>")


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Show a name that a docstring refers to as a name; ``~`` leaves its module out."""
    return _ROLE.sub(lambda m: f"<code>{m[2].rpartition('.')[2] if m[1] else m[2]}</code>", html)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside ``docs``."""
    for source, page in ELSEWHERE.items():
        if page != "index.md":
            files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    name = page.file.src_uri
    outside = {there: source for source, there in ELSEWHERE.items() if there != "index.md"}
    source = outside.get(name, f"docs/{name}")

    def on_site(match: re.Match[str]) -> str:
        bang, text, link = match.groups()
        target, mark, heading = link.partition("#")
        if not target or "://" in target:
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        there = ELSEWHERE.get(place) or place.removeprefix("docs/")
        if there == place:  # a file of the repository that is no page
            return text
        return f"{bang}[{text}]({posixpath.relpath(there, posixpath.dirname(name))}{mark}{heading})"

    parts = _FENCE.split(markdown)
    return "".join(part if i % 2 else _LINK.sub(on_site, part) for i, part in enumerate(parts))
