"""A door in front of a web server that has none: who does not know the token gets no answer.

viser serves everybody who reaches it. So it listens on this machine alone, and this proxy listens
elsewhere: the link with the token sets a cookie, and connections with the cookie are passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import threading
from urllib.parse import parse_qs, urlsplit

_COOKIE = "annotator3d"
_MAX_HEAD = 65536
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 59\r\nConnection: close\r\n\r\n"
_REFUSED += b"Open the whole link that was printed: it ends with ?token=\n"


class TokenProxy:
    """Listens at ``host:port`` in a thread of its own and passes to a port of this machine.

    Attributes:
        token: 128 bits, new each time.
        port: the one that it listens on; with `port` 0, a free one.

    Raises OSError where the address cannot be taken.
    """

    def __init__(self, host: str, port: int, behind: int) -> None:
        self.token = secrets.token_urlsafe(16)
        self._behind, self._loop = behind, asyncio.new_event_loop()
        starting = asyncio.start_server(self._connected, host, port, limit=_MAX_HEAD)
        self._server = self._loop.run_until_complete(starting)
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections and cut those that there are."""
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            if self._has_cookie(head):
                await self._pass_on(head, reader, writer)
            elif self._has_token(head):
                writer.write(self._welcome())
            else:
                writer.write(_REFUSED)
            await writer.drain()
        writer.close()

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """This connection is known: its bytes go through as they are."""
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        inner_writer.write(head)
        ways = [
            asyncio.ensure_future(_copy(reader, inner_writer)),
            asyncio.ensure_future(_copy(inner_reader, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        inner_writer.close()

    def _welcome(self) -> bytes:
        cookie = f"{_COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        lines = ("HTTP/1.1 303 See Other", "Location: /", f"Set-Cookie: {cookie}")
        return "\r\n".join([*lines, "Content-Length: 0", "Connection: close", "", ""]).encode()

    def _has_token(self, head: bytes) -> bool:
        target = head.split(b" ", 2)[1:2]
        query = parse_qs(urlsplit(target[0].decode("latin1")).query) if target else {}
        return any(self._is_token(given) for given in query.get("token", []))

    def _has_cookie(self, head: bytes) -> bool:
        for line in head.decode("latin1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.strip().lower() == "cookie":
                for part in value.split(";"):
                    key, _, given = part.strip().partition("=")
                    if key == _COOKIE and self._is_token(given):
                        return True
        return False

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
