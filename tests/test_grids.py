"""What the two grids of experiments refuse alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from l2l_gail.errors import InputError
from tests import test_cifar_results, test_gail_results


@pytest.mark.parametrize("load", [test_gail_results.load, test_cifar_results.load])
def test_a_configuration_that_lacks_a_key_is_one_line(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    file = tmp_path / "half.toml"
    file.write_text('name = "half"\nseeds = [0]\n[methods]\n')
    with pytest.raises(InputError, match=r"half.toml lacks \w+, \w+") as caught:
        load("grid").main([str(file)])
    assert "\n" not in str(caught.value)
    assert "methods" not in str(caught.value)


def test_a_method_whose_name_is_broken_by_a_dot_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "dotted.toml"
    file.write_text(
        'name = "dotted"\nsteps = 2048\neval_every = 2048\nenvs = ["Hopper-v5"]\nseeds = [0]\n'
        '[methods.muon_0.03]\nrule = "muon"\n'
    )
    with pytest.raises(InputError, match="dotted: the method 'muon_0' names no rule"):
        test_gail_results.load("grid").main([str(file)])
