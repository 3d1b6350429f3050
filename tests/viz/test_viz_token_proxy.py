"""The proxy in front of the web server, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("aiohttp")
import aiohttp
from aiohttp import WSMsgType, web

from annotator3d.errors import ConfigError
from annotator3d.viz.web.address import listen
from annotator3d.viz.web.token_proxy import TokenProxy

SECRET = "the session"
BIG = bytes(range(256)) * 20_000  # 5 MB
WAIT = 30.0


class Inner:
    """A web server at a Unix socket: greets, echoes, streams and speaks websocket."""

    def __init__(self, folder):
        self.path = folder / "inner"
        self.requests, self.left = [], threading.Event()
        self.go_on = None  # an asyncio.Event of this server
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(WAIT)

    def close(self):
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def release(self):
        self.loop.call_soon_threadsafe(self.go_on.set)

    async def _serve(self):
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.go_on = asyncio.Event()
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(self.path)).start()
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request):
        self.requests.append(request)
        answer = {
            "/big": self._big,
            "/parts": self._parts,
            "/socket": self._socket,
            "/elsewhere": self._elsewhere,
            "/zipped": self._zipped,
        }.get(request.path)
        return web.Response(text=SECRET) if answer is None else await answer(request)

    async def _big(self, request):
        return web.Response(body=BIG, headers={"X-Frame-Options": "ALLOWALL"})

    async def _parts(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(b"first")
            await self.go_on.wait()
            await response.write(b"second")
        finally:
            self.left.set()
        return response

    async def _elsewhere(self, request):
        headers = [("Location", "/big"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        return web.Response(status=302, headers=headers)

    async def _zipped(self, request):
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=gzip.compress(SECRET.encode()), headers=headers)

    async def _socket(self, request):
        words = web.WebSocketResponse(protocols=("v2",), max_msg_size=0, autoping=False)
        await words.prepare(request)
        try:
            async for message in words:
                if message.type == WSMsgType.TEXT and message.data.startswith("close"):
                    await words.close(code=int(message.data.split()[1]))
                elif message.type == WSMsgType.TEXT:
                    await words.send_str(message.data.upper())
                elif message.type == WSMsgType.BINARY:
                    await words.send_bytes(message.data)
                elif message.type == WSMsgType.PING:
                    await words.pong(message.data + b"!")
        finally:
            self.code = words.close_code
            self.left.set()
        return words


@contextmanager
def server_and_proxy():
    with TemporaryDirectory() as folder:
        inner = Inner(Path(folder))
        proxy = TokenProxy(listen("127.0.0.1", 0), inner.path)
        try:
            yield proxy, inner
        finally:
            proxy.close()
            inner.close()


@pytest.fixture
def both():
    with server_and_proxy() as pair:
        yield pair


def ask(proxy, target="/", cookie=None, method="GET", host="127.0.0.1", **fields):
    """Everything that comes back for a request, as bytes on the wire."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT) as client:
        line = f"Cookie: other=1; {cookie}\r\n" if cookie else ""
        line += "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in fields.items())
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{line}\r\n"
        client.sendall(head.encode("latin1"))
        found = b""
        while data := client.recv(65536):
            found += data
        return found


def talk(proxy, conversation):
    """Run `conversation(session, address)` as a browser that has the cookie."""

    async def run():
        timeout = aiohttp.ClientTimeout(total=WAIT)
        cookies = {proxy.cookie: proxy.token}
        async with aiohttp.ClientSession(timeout=timeout, cookies=cookies) as session:
            return await conversation(session, f"http://127.0.0.1:{proxy.port}")

    return asyncio.run(run())


def own(proxy):
    return f"{proxy.cookie}={proxy.token}"


def test_without_the_token_nothing_is_served(both):
    proxy, inner = both
    wrong = proxy.token[:-1] + ("A" if proxy.token[-1] != "A" else "B")
    for target, cookie in (
        ("/", None),
        (f"/?token={wrong}", None),
        ("/?token=", None),
        (f"/{proxy.token}", None),
        ("/", f"{proxy.cookie}={wrong}"),
        ("/", f"{proxy.cookie}=\xff\xfe"),
        ("/", f"other={proxy.token}"),
        ("/?token=%FF", None),
    ):
        found = ask(proxy, target, cookie)
        assert found.startswith(b"HTTP/1.1 403"), target
        assert SECRET.encode() not in found and proxy.token.encode() not in found
    assert inner.requests == []


def test_without_the_token_no_websocket_is_opened(both):
    proxy, inner = both

    async def knock():
        async with aiohttp.ClientSession() as session:
            await session.ws_connect(f"http://127.0.0.1:{proxy.port}/socket")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        asyncio.run(knock())
    assert refused.value.status == 403 and inner.requests == []


def test_the_whole_link_gives_a_cookie_and_the_cookie_opens(both):
    proxy, inner = both
    welcome = ask(proxy, f"/?token={proxy.token}").decode()
    assert welcome.startswith("HTTP/1.1 303") and f"Location: {proxy.path}/\r\n" in welcome
    assert "HttpOnly" in welcome and "SameSite=Strict" in welcome
    assert f"Path={proxy.path}" in welcome and proxy.token not in proxy.path
    cookie = welcome.split("Set-Cookie: ")[1].split(";")[0]
    assert inner.requests == []
    assert SECRET.encode() in ask(proxy, f"{proxy.path}/page%2Fa?b=%20c&b=2", cookie)
    (seen,) = inner.requests
    assert seen.path_qs == "/page%2Fa?b=%20c&b=2" and seen.headers["Host"] == "127.0.0.1"
    assert seen.cookies["other"] == "1"


def test_two_proxies_of_one_host_do_not_share_a_cookie(both):
    with server_and_proxy() as (other, _):
        assert other.cookie != both[0].cookie  # a browser does not tell ports apart


def test_the_refusal_is_a_whole_answer_with_words(both):
    head, _, body = ask(both[0]).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"?token=" in body


def test_tokens_are_new_each_time_and_long():
    with server_and_proxy() as (one, _), server_and_proxy() as (two, _):
        assert one.token != two.token and len(one.token) >= 22


def test_nonsense_and_floods_end_the_connection_only(both):
    proxy, inner = both
    for data in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET @evil/ HTTP/1.1\r\nHost: ::1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT) as client:
            client.sendall(data)
            assert client.recv(4096).split()[1] in (b"400", b"403")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT) as client:
        try:
            client.sendall(b"x" * 1_000_000)
            assert client.recv(4096).startswith(b"HTTP/1.0 400")
        except OSError:
            pass  # cut before all was sent
    assert ask(proxy, "/", own(proxy)).startswith(b"HTTP/1.1 200")
    assert len(inner.requests) == 1


@pytest.mark.parametrize("target", ["@127.0.0.1:1/", "x", "http://127.0.0.1:1/", "//127.0.0.1:1/"])
def test_nobody_is_forwarded_to_another_server(both, target):
    proxy, inner = both
    found = ask(proxy, target, own(proxy))
    assert found.split()[1] == b"400" or SECRET.encode() in found


def test_a_body_of_any_size_comes_back_and_none_is_taken(both):
    proxy, inner = both

    async def load(session, address):
        async with session.get(f"{address}/big") as answer:
            assert answer.headers["X-Frame-Options"] == "DENY"  # ours, not that of the server
            return await answer.read()

    assert talk(proxy, load) == BIG
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"):
        found = ask(proxy, "/", own(proxy), method=method)
        assert found.split()[1] in (b"405", b"400"), method
    assert len(inner.requests) == 1


def test_an_answer_goes_through_as_it_is(both):
    proxy, _ = both
    found = ask(proxy, "/elsewhere", own(proxy))
    assert found.startswith(b"HTTP/1.1 302") and b"Location: /big\r\n" in found  # not followed
    assert b"Set-Cookie: a=1\r\n" in found and b"Set-Cookie: b=2\r\n" in found
    head, _, body = ask(proxy, "/zipped", own(proxy)).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head and gzip.decompress(body) == SECRET.encode()
    head, _, body = ask(proxy, "/", own(proxy), method="HEAD").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(SECRET)}".encode() in head and body == b""


def test_what_was_sent_arrives_before_the_rest_is_known(both):
    proxy, inner = both

    async def read(session, address):
        async with session.get(f"{address}/parts") as answer:
            first = await answer.content.readany()
            inner.release()
            return first, await answer.read()

    assert talk(proxy, read) == (b"first", b"second")


def test_a_client_that_leaves_ends_the_request_behind(both):
    proxy, inner = both

    async def leave(session, address):
        async with session.get(f"{address}/parts") as answer:
            await answer.content.readany()
            answer.close()

    talk(proxy, leave)
    assert inner.left.wait(WAIT)


def test_a_websocket_speaks_both_ways(both):
    proxy, inner = both

    async def speak(session, address):
        async with session.ws_connect(
            f"{address}/socket", protocols=("v1", "v2"), max_msg_size=0, autoping=False
        ) as words:
            found = [words.protocol]
            await words.send_str("more")
            found.append((await words.receive()).data)
            await words.send_bytes(BIG)
            found.append((await words.receive()).data)
            await words.ping(b"alive")
            pong = await words.receive()
            return [*found, (pong.type, bytes(pong.data))]

    assert talk(proxy, speak) == ["v2", "MORE", BIG, (WSMsgType.PONG, b"alive!")]
    assert inner.left.wait(WAIT) and inner.code == 1000
    assert inner.requests[0].headers["Host"] == f"127.0.0.1:{proxy.port}"


def test_the_end_of_a_websocket_is_passed_on(both):
    proxy, inner = both

    async def close(session, address, code, by_server):
        async with session.ws_connect(f"{address}/socket") as words:
            if by_server:
                await words.send_str(f"close {code}")
                return (await words.receive()).data
            await words.close(code=code)

    assert talk(proxy, lambda *where: close(*where, 4001, True)) == 4001
    assert inner.left.wait(WAIT)
    inner.left.clear()
    talk(proxy, lambda *where: close(*where, 4002, False))
    assert inner.left.wait(WAIT) and inner.code == 4002


def test_a_browser_that_vanishes_ends_the_websocket_behind(both):
    proxy, inner = both

    async def vanish(session, address):
        words = await session.ws_connect(f"{address}/socket")
        await words.send_str("more")
        await words.receive()
        words.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    talk(proxy, vanish)
    assert inner.left.wait(WAIT)


def test_a_websocket_that_the_server_refuses_is_refused(both):
    proxy, _ = both

    async def knock(session, address):
        await session.ws_connect(f"{address}/big")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        talk(proxy, knock)
    assert refused.value.status == 502


def test_when_the_server_behind_ends_that_is_said(both):
    proxy, inner = both

    async def outlive(session, address):
        words = await session.ws_connect(f"{address}/socket")
        async with session.get(f"{address}/parts") as answer:
            await answer.content.readany()
            await asyncio.get_running_loop().run_in_executor(None, inner.close)
            ended = (await words.receive()).type
            with pytest.raises(aiohttp.ClientError):  # cut, not ended as if it were whole
                await answer.read()
        async with session.get(address) as answer:
            return ended, answer.status, await answer.text()

    ended, status, words = talk(proxy, outlive)
    assert ended in (WSMsgType.CLOSE, WSMsgType.CLOSED) and status == 502
    assert "Start it again" in words
    inner.close = lambda: None


def test_after_closing_nobody_is_let_in_and_nothing_is_left(caplog):
    with server_and_proxy() as (proxy, inner):

        async def stay(session, address):
            words = await session.ws_connect(f"{address}/socket")
            async with session.get(f"{address}/parts") as answer:
                await answer.content.readany()
                await asyncio.get_running_loop().run_in_executor(None, proxy.close)
                return (await words.receive()).type

        assert talk(proxy, stay) in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
        assert inner.left.wait(WAIT)
        proxy.close = lambda: None
    assert "token proxy" not in [thread.name for thread in threading.enumerate()]
    assert "never" not in caplog.text and "pending" not in caplog.text  # of asyncio's tasks
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", None, "another program serves there.*--port 0"),
        ("127.0.0.1", 99_999, "--port: expected 0 .a free one. to 65535, got 99999"),
        ("127.0.0.1", -1, "--port: expected 0 .a free one. to 65535, got -1"),
        ("", 0, "--host: expected an address"),
        (" ", 0, "--host: expected an address"),
        ("no.such.invalid", 0, "--host no.such.invalid: this machine knows no such address"),
        ("192.0.2.1", 0, "--host 192.0.2.1 --port 0: cannot serve there"),
    ],
)
def test_an_address_that_cannot_be_taken_is_an_error_of_usage(host, port, words):
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(ConfigError, match=words):
            listen(host, other.getsockname()[1] if port is None else port)
    assert "token proxy" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
     "127.0.0.1:80:80", "[::1", "x", "localhost:evil", "evil@localhost"],
)  # fmt: skip
def test_a_name_that_is_pointed_here_opens_nothing_even_with_the_cookie(both, host):
    proxy, inner = both
    for target in ("/", f"/?token={proxy.token}"):
        found = ask(proxy, target, own(proxy), host=host)
        assert found.split()[1] in (b"403", b"400") and proxy.token.encode() not in found
    assert inner.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9000", "localhost:1", "LOCALHOST", "[::1]:8080", "10.1.2.3:80"]
)
def test_addresses_and_tunnels_are_let_in(both, host):
    proxy, _ = both
    assert SECRET.encode() in ask(proxy, "/", own(proxy), host=host, Origin=f"http://{host}")


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9"},  # another server of this machine
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "file://"},
        {"Origin": "ftp://127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1:8080.evil.example"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
    ids=str,
)
@pytest.mark.parametrize("upgrade", [False, True])
def test_a_page_of_another_origin_is_refused_even_with_the_cookie(both, fields, upgrade):
    proxy, inner = both
    if upgrade:
        fields = {**fields, "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
                  "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    found = ask(proxy, "/socket", own(proxy), host="127.0.0.1:8080", **fields)
    assert found.startswith(b"HTTP/1.1 403") and inner.requests == []


def test_a_link_in_a_letter_or_a_chat_may_be_followed(both):
    proxy, _ = both
    fields = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    found = ask(proxy, f"/?token={proxy.token}", Sec_Fetch_Dest="document", **fields)
    assert found.startswith(b"HTTP/1.1 303")


def test_every_answer_is_guarded(both):
    proxy, _ = both
    for target, cookie in (("/", None), ("/", own(proxy)), (f"/?token={proxy.token}", None)):
        head = ask(proxy, target, cookie).partition(b"\r\n\r\n")[0].decode()
        for line in (
            "Cache-Control: no-store",
            "Content-Security-Policy: frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy: same-origin",
            "Referrer-Policy: no-referrer",
            "X-Content-Type-Options: nosniff",
            "X-Frame-Options: DENY",
        ):
            assert line in head.splitlines()
