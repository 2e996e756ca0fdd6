"""The README as a package index can show it; everything else stands in pyproject.toml."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

NOTE = "The pages that this text names come with the sources, in the folder `docs`.\n"
HERE = Path(__file__).parent
INSIDE = r"\((?!https?:)([^)\s]+)\)"
PICTURE = re.compile(rf"^!\[([^\]]*)\]{INSIDE}", flags=re.MULTILINE)
LINK = re.compile(rf"(?<!!)\[([^\]]+)\]{INSIDE}")


def readme_for_index(text: str, repository: str | None = None) -> str:
    """Return a README whose pictures and links resolve where the repository is not at hand.

    Args:
        text: The README, with paths inside the repository.
        repository: Address of the public repository. Paths then lead into it. Without one, pictures
            are left out, and of a link stays what it was put on.
    """
    if repository:
        repository = repository.rstrip("/")
        text = PICTURE.sub(rf"![\1]({repository}/raw/HEAD/\2)", text)
        text = text.replace("](#", "](README.md#")  # an index gives headings no anchors
        return LINK.sub(rf"[\1]({repository}/blob/HEAD/\2)", text)
    text = re.sub(rf"{PICTURE.pattern}\n+", "", text, flags=re.MULTILINE)
    return LINK.sub(r"\1", text) + f"\n{NOTE}"


project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
setup(
    script_name="setup.py",  # by which it is known as no module of the scripts beside it
    long_description=readme_for_index(
        (HERE / "README.md").read_text(encoding="utf-8"), project["urls"].get("Repository")
    ),
    long_description_content_type="text/markdown",
)
