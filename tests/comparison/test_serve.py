from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2l_gail.comparison.serve import Boards, board_names
from l2l_gail.errors import InputError


@pytest.fixture(scope="module")
def served(compared: Path) -> Iterator[str]:
    boards = Boards(compared / "comparison", port=0)
    thread = threading.Thread(target=boards.serve, daemon=True)
    thread.start()
    yield boards.address
    boards.stop()
    thread.join(10)


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


def test_the_first_page_is_the_report_with_a_link_to_every_board(served: str) -> None:
    page = get(served).decode()
    for name in ("Hopper-v5", "cifar10", "synthetic"):
        assert f'href="/{name}/?smoothing=0#timeseries"' in page


def test_each_board_is_a_tensorboard_of_its_own_runs_in_the_order_of_colours(served: str) -> None:
    runs = json.loads(get(f"{served}Hopper-v5/data/runs"))
    assert runs == ["expert", "behaviour cloning", "gail", "l2l_gail", "overview"]
    assert json.loads(get(f"{served}cifar10/data/runs")) == ["grad_l2l", "pgd", "overview"]


def test_what_a_board_asks_for_without_its_prefix_is_found(served: str) -> None:
    style = get(f"{served}Hopper-v5/").decode()
    font = next(part.split('"')[0] for part in style.split("font-roboto/")[1:] if ".woff2" in part)
    assert get(f"{served}font-roboto/{font.split(')')[0]}")


@pytest.mark.parametrize("path", ["nothing", "..%2f..%2fsummary.md", "Hopper-v6/"])
def test_nothing_else_is_served(served: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{served}{path}")


def test_boards_are_listed_by_name(compared: Path) -> None:
    assert board_names(compared / "comparison") == ["Hopper-v5", "cifar10", "synthetic"]


def test_a_taken_port_is_one_line(compared: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} is taken: give another --port"):
            Boards(compared / "comparison", port=port)
