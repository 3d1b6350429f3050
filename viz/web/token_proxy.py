"""A proxy in front of the browser viewer: without the token nobody gets anything.

viser serves everybody who reaches it. So viser listens at a Unix socket, and this proxy at a port.
The link with the token sets a cookie; requests with the cookie are forwarded. Other users of the
machine and pages of other sites have no token. A browser sends a cookie of ours to every port of
the host, so it is bound to a path that others do not know, and what a browser says about the page
that asks (Host, Origin, Sec-Fetch-Site) must be right as well.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hmac
import logging
import secrets
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, UnixConnector, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from annotator3d.viz.web.address import is_known
from annotator3d.viz.web.websocket_proxy import forward_websocket, is_websocket

LOG = logging.getLogger("annotator3d.viz.web")
_HTTP = logging.getLogger("annotator3d.viz.web.http")  # of aiohttp: who sends no HTTP is no fault
_HTTP.addFilter(lambda r: not (r.exc_info and isinstance(r.exc_info[1], HttpProcessingError)))
SHUTDOWN_SECONDS = 1.0  # what requests under way get to end by themselves
_REFUSED = "Open the whole link that was printed: it ends with ?token=...\n"
_NOT_OURS = "This address is asked for under a name, or from a page, that is not its own.\n"
_METHODS = ("GET", "HEAD")  # the page is read, and all else goes over its websocket
# Added to every answer: nothing is stored, shown inside another page or told to other sites.
_GUARDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_GONE = "The viewer behind this address has ended. Start it again and open the new link.\n"
# They speak of one connection, not of the message (RFC 9110, section 7.6.1).
_HOP_BY_HOP = {
    "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class TokenProxy:
    """Serves from a thread of its own and forwards to a Unix socket.

    Args:
        listening: sockets that listen, all at one port (`address.listen`); closed in the end.
        behind: the path of the Unix socket that is served.
        names: what the server may be called in a Host header, besides addresses in digits.

    Attributes:
        token: 128 random bits, new each time.
        port: the one that it listens on.
        cookie: the name of its cookie; browsers share cookies among the ports of a host.
        path: where the page is, for this cookie only; it says nothing of the token.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        behind: Path,
        names: frozenset[str] = frozenset({"localhost"}),
    ) -> None:
        self.token, self.path = secrets.token_urlsafe(16), f"/{secrets.token_hex(6)}"
        self.port = listening[0].getsockname()[1]
        self.cookie = f"annotator3d_{self.port}"
        self._behind, self._names = behind, names
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening, started)),
            name="token proxy",
            daemon=True,
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join()
            raise

    def close(self) -> None:
        """Take no more connections and end those under way."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(
        self, listening: Sequence[socket.socket], started: concurrent.futures.Future[None]
    ) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._handle, logger=_HTTP, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
        async with ClientSession(
            connector=UnixConnector(str(self._behind), limit=0),
            auto_decompress=False,  # bodies go through as they are
            cookie_jar=DummyCookieJar(),  # cookies belong to the browsers
            skip_auto_headers=_AUTOMATIC,
            timeout=ClientTimeout(total=None, sock_connect=10),
        ) as self._session:
            await runner.setup()
            try:
                for each in listening:
                    await web.SockSite(runner, each).start()
            except Exception as error:
                started.set_exception(error)
            else:
                started.set_result(None)
                await self._stop.wait()
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not is_known(request.headers.get("Host", ""), self._names) or not _is_own_page(request):
            return _answer(403, _NOT_OURS)
        if request.method not in _METHODS:
            return _answer(405, "Only GET is served.\n", {"Allow": ", ".join(_METHODS)})
        if self._is_token(request.cookies.get(self.cookie, "")):
            return await self._forward(request)
        if any(self._is_token(given) for given in request.query.getall("token", [])):
            return self._welcome()
        return _answer(403, _REFUSED)

    def _welcome(self) -> web.Response:
        """Keep the token as a cookie, and take it out of the address line."""
        response = _answer(303, "", {"Location": f"{self.path}/"})
        response.set_cookie(
            self.cookie, self.token, path=self.path, httponly=True, samesite="Strict"
        )
        return response

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.rel_url
        path = target.raw_path
        if not path.startswith("/"):
            return _answer(400, "The path must begin with /\n")
        if path == self.path or path.startswith(f"{self.path}/"):
            path = path.removeprefix(self.path) or "/"
        url = URL.build(
            scheme="http",
            host="localhost",
            path=path,
            query_string=target.raw_query_string,
            encoded=True,
        )
        headers = _end_to_end(request.headers)
        try:
            if is_websocket(request):
                return await forward_websocket(self._session, request, url, headers)
            return await self._forward_http(request, url, headers)
        except ClientError as error:
            LOG.warning("the server behind the proxy does not answer: %s", error)
            return _answer(502, _GONE)

    async def _forward_http(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        """Stream the answer back.

        Raises ClientError where the server behind gives no answer.
        """
        headers.popall("Content-Length", None)  # viser takes no body
        async with self._session.get(url, headers=headers, allow_redirects=False) as inner:
            given = _end_to_end(inner.headers)
            given.update(_GUARDS)
            response = web.StreamResponse(status=inner.status, reason=inner.reason, headers=given)
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            try:
                async for chunk in inner.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            except (ClientError, ConnectionError):  # one side has gone, in the middle of a body
                if request.transport is not None:
                    request.transport.abort()
            return response


def _is_own_page(request: web.BaseRequest) -> bool:
    """Whether a page of ours asks, or a person who follows a link, as far as a browser tells."""
    origin = request.headers.get("Origin")  # "null" of a sandboxed page or a file
    if origin is not None:
        scheme, _, place = origin.lower().partition("://")
        if scheme not in ("http", "https") or place != request.headers["Host"].lower():
            return False
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return True
    return (
        request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest", "document") == "document"
    )


def _answer(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text, headers={**_GUARDS, **(headers or {})})


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that are forwarded: all but those of one connection."""
    named = {
        name.strip().lower()
        for value in headers.getall("Connection", [])
        for name in value.split(",")
    }
    dropped = _HOP_BY_HOP | named
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in dropped)
