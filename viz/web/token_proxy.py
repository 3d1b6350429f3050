"""A proxy in front of the browser viewer: without the token nobody gets anything.

viser serves everybody who reaches it. So viser listens on this machine alone, and this proxy
listens elsewhere. The link with the token sets a cookie; requests with the cookie are forwarded.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hmac
import logging
import secrets
import threading

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from annotator3d.viz.web.websocket_proxy import forward_websocket, is_websocket

LOG = logging.getLogger("annotator3d.viz.web")
SHUTDOWN_SECONDS = 1.0  # what requests under way get to end by themselves
_REFUSED = "Open the whole link that was printed: it ends with ?token=...\n"
_GONE = "The viewer behind this address has ended. Start it again and open the new link.\n"
# They speak of one connection, not of the message (RFC 9110, section 7.6.1).
_HOP_BY_HOP = {
    "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class TokenProxy:
    """Serves ``host:port`` from a thread of its own and forwards to a port of this machine.

    Args:
        host: the address to listen at.
        port: 0 takes a free one.
        behind: the port of 127.0.0.1 that is served.

    Attributes:
        token: 128 random bits, new each time.
        port: the one that it listens on.
        cookie: the name of its cookie; browsers share cookies among the ports of a host.

    Raises:
        OSError: the address cannot be taken.
    """

    def __init__(self, host: str, port: int, behind: int) -> None:
        self.token = secrets.token_urlsafe(16)
        self._behind = behind
        started: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(host, port, started)),
            name="token proxy",
            daemon=True,
        )
        self._thread.start()
        try:
            self.port = started.result()
        except BaseException:
            self._thread.join()
            raise
        self.cookie = f"annotator3d_{self.port}"

    def close(self) -> None:
        """Take no more connections and end those under way."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self, host: str, port: int, started: concurrent.futures.Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._handle, logger=LOG, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
        async with ClientSession(
            auto_decompress=False,  # bodies go through as they are
            cookie_jar=DummyCookieJar(),  # cookies belong to the browsers
            skip_auto_headers=_AUTOMATIC,
            timeout=ClientTimeout(total=None, sock_connect=10),
        ) as self._session:
            await runner.setup()
            try:
                await web.TCPSite(runner, host, port).start()
            except Exception as error:
                started.set_exception(error)
            else:
                started.set_result(runner.addresses[0][1])
                await self._stop.wait()
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._is_token(request.cookies.get(self.cookie, "")):
            return await self._forward(request)
        if any(self._is_token(given) for given in request.query.getall("token", [])):
            return self._welcome()
        return web.Response(status=403, text=_REFUSED)

    def _welcome(self) -> web.Response:
        """Keep the token as a cookie, and take it out of the address line."""
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
        return response

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.rel_url
        if not target.raw_path.startswith("/"):
            return web.Response(status=400, text="The path must begin with /\n")
        url = URL.build(
            scheme="http",
            host="127.0.0.1",
            port=self._behind,
            path=target.raw_path,
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
            return web.Response(status=502, text=_GONE)

    async def _forward_http(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        """Stream the body there and the answer back.

        Raises ClientError where the server behind gives no answer.
        """
        body = request.content if request.body_exists else None
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as inner:
            response = web.StreamResponse(
                status=inner.status, reason=inner.reason, headers=_end_to_end(inner.headers)
            )
            await response.prepare(request)
            try:
                async for chunk in inner.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            except (ClientError, ConnectionError):  # one side has gone, in the middle of a body
                if request.transport is not None:
                    request.transport.abort()
            return response


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that are forwarded: all but those of one connection."""
    named = {
        name.strip().lower()
        for value in headers.getall("Connection", [])
        for name in value.split(",")
    }
    dropped = _HOP_BY_HOP | named
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in dropped)
