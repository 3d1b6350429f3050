"""Serves a session to a browser with viser: the same keys and actions, one person at a time."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from annotator3d.annotation.session import LabelSession
from annotator3d.viz.colours import Colours
from annotator3d.viz.desktop.system import check_browser
from annotator3d.viz.keys import KeyTable
from annotator3d.viz.scene_model import SceneModel
from annotator3d.viz.view_settings import ViewSettings
from annotator3d.viz.web.address import is_local, listen, names_of
from annotator3d.viz.web.page import WebPage

_STOP = object()
_STEP_SECONDS = 0.03  # of a flight
_TAKEN = (
    "**Somebody is labelling here already.** One server serves one person: start another with "
    "`annotator3d label WORK_DIR --web --port N`; both may work on the same ledger. When the other "
    "page is closed, this one continues."
)


def serve(
    session: LabelSession,
    keys: KeyTable,
    palette: Colours,
    host: str = "127.0.0.1",
    port: int = 8080,
    settings: ViewSettings | None = None,
    say: Callable[[str], None] = print,
    listening: Sequence[socket.socket] | None = None,
) -> None:
    """Serve the session until it is closed in the browser or with Ctrl-C, which is raised.

    Only a browser that has opened the link, with the token in it, sees or does anything.

    Args:
        settings: the choices at the start.
        listening: what `address.listen` gave for `host` and `port`, if that was done before.

    Raises:
        ViewerError: viser or aiohttp is not installed, or does not fit.
        ConfigError: the address cannot be taken.
    """
    check_browser()
    from annotator3d.viz.web.inner_server import viser_on_socket
    from annotator3d.viz.web.token_proxy import TokenProxy

    listening = listen(host, port) if listening is None else listening
    with viser_on_socket() as (server, behind):
        proxy = TokenProxy(listening, behind, names_of(host))
        try:
            shown = f"[{host}]" if ":" in host else host
            say(f"open http://{shown}:{proxy.port}/?token={proxy.token} in a browser; Ctrl-C ends")
            if not is_local(host):
                say("the connection is not encrypted: use it on a network that you trust, or by "
                    "ssh -L")  # fmt: skip
            _Host(server, keys, lambda: SceneModel(session, palette, settings)).run()
        finally:
            proxy.close()


class _Host:
    """Lets one browser in at a time and runs its requests in the session's thread."""

    def __init__(self, server: Any, keys: KeyTable, scene_model: Callable[[], SceneModel]) -> None:
        self._keys, self._scene_model = keys, scene_model
        self._jobs: queue.Queue[Any] = queue.Queue()
        self._page: WebPage | None = None
        self._lock, self._error = threading.Lock(), None
        self._owner: int | None = None
        self._waiting: dict[int, tuple[Any, Any]] = {}  # client id -> client, its notice
        server.gui.configure_theme(
            control_layout="fixed", control_width="large", dark_mode=True,
            show_logo=False, show_share_button=False,
        )  # fmt: skip
        server.on_client_connect(self._connected)
        server.on_client_disconnect(self._left)

    def run(self) -> None:
        """Serve until closed; raises the error that ended it, if there was one."""
        while True:
            try:
                flying = self._page is not None and self._page.is_flying
                job = self._jobs.get(timeout=_STEP_SECONDS if flying else 1.0)
            except queue.Empty:
                job = None
            if job is _STOP:
                break
            if job is not None:
                job()
            elif self._page is not None:
                page = self._page
                page.controller.guard(page.tick)
        if self._error is not None:
            raise self._error

    def _connected(self, client: Any) -> None:
        with self._lock:
            if self._owner is not None:
                self._waiting[client.client_id] = client, client.gui.add_markdown(_TAKEN)
                return
            self._owner = client.client_id
        self._jobs.put(lambda: self._open(client))

    def _left(self, client: Any) -> None:
        """Let the next browser in. When a page is reloaded, the old one often leaves later."""
        with self._lock:
            self._waiting.pop(client.client_id, None)
            if self._owner != client.client_id:
                return
            self._owner = None
            self._jobs.put(lambda: setattr(self, "_page", None))
            if self._waiting:
                self._owner = next(iter(self._waiting))
                following, words = self._waiting.pop(self._owner)
                words.remove()
                self._jobs.put(lambda: self._open(following))

    def _open(self, client: Any) -> None:
        self._page = WebPage(client, self._scene_model(), self._keys, self._jobs.put, self._fail)

    def _fail(self, error: Exception | None) -> None:
        """End, because of an error or because the person closed the session."""
        self._error = error
        self._jobs.put(_STOP)
