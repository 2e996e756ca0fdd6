"""All boards of a comparison at one address, each a TensorBoard of its own.

One TensorBoard for everything would give its seven colours out twice.  The first page is the
report; every board is a folder below it: ``http://localhost:6006/Hopper-v5/``.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterable
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tensorboard import program
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from l2l_gail.comparison.single_runs import RUNS_ENDING
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import OVERVIEW

__all__ = ["BoardServer", "address_of", "board_names"]

_HERE = "127.0.0.1"
# Told outright, since "auto" prints a notice for each board.
_FAST = "true" if find_spec("tensorboard_data_server") else "false"


def board_names(folder: Path) -> list[str]:
    """Names of the boards in a comparison's folder."""
    return sorted(path.parent.name for path in folder.glob(f"*/{OVERVIEW}"))


def address_of(board: str) -> str:
    """Where a board is found below the address of all, with the tab that comes first in it."""
    if board.endswith(RUNS_ENDING):  # in the colours of their methods
        return f"{quote(board)}/?smoothing=0&runColorGroup={quote('regex:^(.*)/')}#hparams"
    return f"{quote(board)}/?smoothing=0#timeseries"


class BoardServer:
    """A web server of a comparison, on this machine alone.

    Args:
        folder: Folder of the comparison; it need not be there yet.
        port: Its port; 0 takes any that is free.

    Attributes:
        address: Where it is found.

    Raises:
        InputError: The port is taken, or cannot be had for another reason.
    """

    def __init__(self, folder: Path, port: int = 6006) -> None:
        self._folder = folder
        self._apps: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._serving = False
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with _listening(port) as own:  # werkzeug, left to itself, prints its own advice and exits
            self._server: BaseWSGIServer = make_server(
                _HERE,
                own.getsockname()[1],
                self._answer,
                threaded=True,
                request_handler=_Quiet,
                fd=own.fileno(),  # of which it makes a copy
            )
        self.address = f"http://localhost:{self._server.port}/"

    def serve(self) -> None:
        """Answer until :meth:`close`."""
        self._serving = True
        self._server.serve_forever()

    def close(self) -> None:
        """Stop answering, if that was ever begun, and give the port back."""
        if self._serving:
            self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # WSGI has the bytes of an address as latin-1, whatever they are.
        path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace")
        name = path.lstrip("/").partition("/")[0]
        names = board_names(self._folder)
        if name in names:
            # Not by TensorBoard's own path_prefix, which is for addresses in ASCII alone.
            below = f"/{name}".encode().decode("latin-1")
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(below)
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + below
        elif name == "font-roboto" and names:  # asked for without the prefix
            name = names[0]
        if name in names:
            with self._lock:
                if name not in self._apps:
                    self._apps[name] = _tensorboard(self._folder / name)
            return self._apps[name](environ, start_response)
        page = self._folder / "index.html"
        if name or not page.is_file():
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"no such board\n"]
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        links = "".join(
            f'<a href="/{escape(address_of(name))}">TensorBoard: {escape(name)}</a>'
            for name in board_names(self._folder)
        )
        text = page.read_text(encoding="utf-8")
        return [text.replace("<!-- boards -->", f"<nav>{links}</nav>", 1).encode()]


def _listening(port: int) -> socket.socket:
    """Return a socket that listens on a port of this machine."""
    own = socket.socket()
    try:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind((_HERE, port))
        own.listen()
    except OSError as error:
        own.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} is taken: give another --port") from None
        reason = os.strerror(error.errno or 0)
        raise InputError(f"port {port} cannot be had ({reason}): give another --port") from None
    return own


class _Quiet(WSGIRequestHandler):
    """Keeps the terminal for what matters."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing."""


def _tensorboard(folder: Path) -> Any:
    """TensorBoard's application for one board."""
    kept: list[Any] = []

    class Kept(program.TensorBoardServer):
        """Takes the application where TensorBoard would start its own server."""

        def __init__(self, wsgi_app: Any, flags: Any) -> None:
            kept.append(wsgi_app)

        def serve_forever(self) -> None:
            """Do nothing: :class:`BoardServer` serves."""

        def get_url(self) -> str:
            """Where it would be."""
            return ""

    board = program.TensorBoard(server_class=Kept)
    board.configure(logdir=str(folder), reload_interval=5, load_fast=_FAST)
    board.launch()
    return kept[0]
