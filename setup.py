"""The README as a package index can show it; everything else stands in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

NOTE = "The pages that this text names come with the sources, in the folder `docs`.\n"


def readme_for_index(text: str) -> str:
    """Return a README without pictures and links into the repository, which an index cannot show.

    What a link was put on stays, and so do links to the web.
    """
    inside = r"\((?!https?:)[^)\s]+\)"
    text = re.sub(rf"^!\[[^\]]*\]{inside}\n+", "", text, flags=re.MULTILINE)
    return re.sub(rf"\[([^\]]+)\]{inside}", r"\1", text) + f"\n{NOTE}"


readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
setup(
    script_name="setup.py",  # by which it is known as no module of the scripts beside it
    long_description=readme_for_index(readme),
    long_description_content_type="text/markdown",
)
