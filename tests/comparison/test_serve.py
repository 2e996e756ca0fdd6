from __future__ import annotations

import errno
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from l2l_gail.compare import compare, main
from l2l_gail.comparison.serve import BoardServer, address_of, board_names
from l2l_gail.errors import InputError
from tests.comparison.support import events, gail_run


@pytest.fixture(scope="module")
def served(compared: Path) -> Iterator[str]:
    boards = BoardServer(compared / "comparison", port=0)
    thread = threading.Thread(target=boards.serve, daemon=True)
    thread.start()
    yield boards.address
    boards.close()
    thread.join(10)


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


def test_the_first_page_is_the_report_with_a_link_to_every_board(served: str) -> None:
    page = get(served).decode()
    for name in ("Hopper-v5", "cifar10", "synthetic"):
        assert f'href="/{name}/?smoothing=0#timeseries"' in page
        coloured = "runColorGroup=regex%3A%5E%28.%2A%29/"
        assert f'href="/{name}-runs/?smoothing=0&amp;{coloured}#hparams"' in page


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
    names = [
        name + ending for name in ("Hopper-v5", "cifar10", "synthetic") for ending in ("", "-runs")
    ]
    assert board_names(compared / "comparison") == names


def test_a_taken_port_is_one_line(compared: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} is taken: give another --port"):
            BoardServer(compared / "comparison", port=port)


def test_a_port_that_one_may_not_have_is_not_called_taken(tmp_path: Path, monkeypatch) -> None:
    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InputError, match=r"^port 80 cannot be had \(Permission denied\): give"):
        BoardServer(tmp_path, port=80)


def test_a_taken_port_is_said_before_anything_is_compared(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} is taken: give another --port"):
            main([str(tmp_path), "--board", "--port", str(port)])
    assert not (tmp_path / "comparison").exists()


def test_a_port_is_given_back_where_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="no finished run"):
        main([str(tmp_path), "--board", "--port", str(port)])
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_a_board_whose_name_is_not_ascii_is_served(tmp_path: Path) -> None:
    name = "Bäume-v0"
    gail_run(tmp_path, "gail", 0, 1000, env=name)
    compare(tmp_path)
    boards = BoardServer(tmp_path / "comparison", port=0)
    threading.Thread(target=boards.serve, daemon=True).start()
    try:
        page = get(boards.address).decode()
        for one in (name, f"{name}-runs"):
            address = address_of(one).partition("?")[0]
            assert f'href="/{address}?' in page
            # From there the page asks for everything else.
            assert b'tb-relative-root" content="./"' in get(boards.address + address)
            runs = json.loads(get(f"{boards.address}{address}data/runs"))
            assert any(run.startswith("gail") for run in runs)
        # without the slash at the end TensorBoard leads to the address with it
        assert b"tb-relative-root" in get(boards.address + quote(name))
    finally:
        boards.close()


def test_the_command_serves_what_it_compared(tmp_path: Path, monkeypatch, capsys) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pages = []

    def look_and_stop(seconds: float) -> None:
        pages.append(get(f"http://127.0.0.1:{port}/"))
        raise KeyboardInterrupt

    monkeypatch.setattr("l2l_gail.comparison.__main__.time.sleep", look_and_stop)
    with pytest.raises(KeyboardInterrupt):
        main([str(tmp_path), "--board", "--port", str(port)])
    assert b"<td>gail</td>" in pages[0]
    assert f"http://localhost:{port}/Hopper-v5/?smoothing=0#timeseries" in capsys.readouterr().out


def test_a_method_that_comes_later_keeps_the_others_colours(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    compare(tmp_path)
    board = tmp_path / "comparison" / "Hopper-v5"
    before = {folder.name: events(folder).FirstEventTimestamp() for folder in board.iterdir()}
    gail_run(tmp_path, "l2l_gail", 0, 1000)
    compare(tmp_path)
    after = {folder.name: events(folder).FirstEventTimestamp() for folder in board.iterdir()}
    assert after | before == after
    assert sorted(after, key=after.__getitem__)[-2:] == ["l2l_gail", "overview"]
