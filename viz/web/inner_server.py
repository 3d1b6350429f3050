"""Starts viser on a Unix socket in a folder that only its user may enter.

viser serves everybody who reaches it, and can only be told a host and a port. So for the moment in
which it starts, what it calls to listen is replaced.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotator3d.viz.desktop.system import ViewerError

_LONGEST = 100  # bytes of the path of a socket; Linux takes 107, macOS 103
_starting = threading.Lock()


@contextmanager
def viser_on_socket() -> Iterator[tuple[Any, Path]]:
    """A server of viser's and the socket that it listens at; no port is opened.

    Raises:
        ViewerError: this version of viser listens in another way.
    """
    folder = _private_folder()
    try:
        server = _start(folder / "viser")
        try:
            yield server, folder / "viser"
        finally:
            with contextlib.redirect_stdout(io.StringIO()):
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _private_folder() -> Path:
    """A new folder with mode 0700, of a short name."""
    folder = tempfile.mkdtemp(prefix="a3d-")
    if len(folder) + len("/viser") > _LONGEST:
        shutil.rmtree(folder)
        folder = tempfile.mkdtemp(prefix="a3d-", dir="/tmp")
    return Path(folder)


def _start(path: Path) -> Any:
    import viser
    import websockets.asyncio.server as library

    listen = library.serve

    def listen_at_socket(handler: Any, host: str, port: int, **options: Any) -> Any:
        return listen(handler, unix=True, path=str(path), **options)

    with _starting:
        library.serve = listen_at_socket
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints a link without the token
                server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
        finally:
            library.serve = listen
    if isinstance(server.get_port(), int) or not path.is_socket():
        server.stop()
        raise ViewerError(
            f"viser {viser.__version__} cannot be served safely: it opened a port of its own. "
            "Install the version that constraints.txt names"
        )
    server.request_share_url = lambda *args, **kwargs: None  # nothing leaves this machine
    return server
