"""Modules of the user's own are found in the working folder, and take no library's place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from l2l_gail.errors import InputError
from l2l_gail.own_modules import import_own


def test_a_module_in_the_working_folder_is_found_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found_in_this_folder.py").write_text("import json\nfound = json\n")
    (tmp_path / "json.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    import_own("found_in_this_folder", "--import")
    assert sys.modules["found_in_this_folder"].found is json
    assert sys.path[-1] == str(tmp_path)
    import_own("found_in_this_folder", "--import")
    assert sys.path.count(str(tmp_path)) == 1
    with pytest.raises(InputError, match=r"module 'not_there' cannot be imported .* this"):
        import_own("not_there", "--import")


def test_a_working_folder_that_is_gone_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(gone := tmp_path)
    gone.rmdir()
    before = list(sys.path)
    import_own("json", "--import")
    assert sys.path == before
