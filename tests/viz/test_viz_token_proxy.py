"""The door in front of the web server, over real sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest

from annotator3d.viz.web.token_proxy import TokenProxy

SECRET = b"the session"


@contextmanager
def server_and_gate():
    """A server that greets everybody and then echoes, behind a gate; (gate, heads it has seen)."""
    heads, inner = [], socket.create_server(("127.0.0.1", 0))

    def serve(client):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(4096)
                if not data:
                    return
                head += data
            heads.append(head)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + SECRET)
            while data := client.recv(4096):
                client.sendall(data.upper())

    def accept():
        while True:
            try:
                client, _ = inner.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    gate = TokenProxy("127.0.0.1", 0, inner.getsockname()[1])
    try:
        yield gate, heads
    finally:
        gate.close()
        inner.close()


def ask(gate, target="/", cookie=None, then=b""):
    """Everything that comes back for a request."""
    with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as client:
        line = f"Cookie: other=1; {cookie}\r\n" if cookie else ""
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode())
        found = client.recv(65536)
        if then:
            while SECRET not in found:
                found += client.recv(65536)
            client.sendall(then)
            found += client.recv(65536)
        return found


@pytest.fixture
def gate():
    with server_and_gate() as both:
        yield both


def test_without_the_token_nothing_is_served(gate):
    door, heads = gate
    wrong = door.token[:-1] + ("A" if door.token[-1] != "A" else "B")
    for target, cookie in (
        ("/", None),
        (f"/?token={wrong}", None),
        ("/?token=", None),
        (f"/{door.token}", None),
        ("/", f"annotator3d={wrong}"),
        ("/", f"other={door.token}"),
        ("/?token=%FF", None),
    ):
        found = ask(door, target, cookie)
        assert found.startswith(b"HTTP/1.1 403"), target
        assert SECRET not in found and door.token.encode() not in found
    assert heads == []


def test_the_whole_link_gives_a_cookie_and_the_cookie_opens(gate):
    door, heads = gate
    welcome = ask(door, f"/?token={door.token}").decode()
    assert welcome.startswith("HTTP/1.1 303") and "Location: /\r\n" in welcome
    assert "HttpOnly" in welcome and "SameSite=Strict" in welcome
    cookie = welcome.split("Set-Cookie: ")[1].split(";")[0]
    assert heads == []
    found = ask(door, "/page", cookie, then=b"more")
    assert SECRET in found and found.endswith(b"MORE")  # what follows goes both ways
    assert heads[0].startswith(b"GET /page HTTP/1.1\r\n")


def test_the_refusal_is_a_whole_answer_with_words(gate):
    head, _, body = ask(gate[0]).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"?token=" in body


def test_tokens_are_new_each_time_and_long():
    with server_and_gate() as (one, _), server_and_gate() as (two, _):
        assert one.token != two.token and len(one.token) >= 22


def test_nonsense_and_floods_end_the_connection_only(gate):
    door, heads = gate
    for data in (b"\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", door.port), timeout=20) as client:
            client.sendall(data)
            assert client.recv(4096).startswith(b"HTTP/1.1 403")
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as client:
        try:
            client.sendall(b"x" * 1_000_000)
            assert client.recv(4096) == b""
        except OSError:
            pass  # cut before all was sent
    assert ask(door, "/", f"annotator3d={door.token}").startswith(b"HTTP/1.1 200")
    assert len(heads) == 1


def test_after_closing_nobody_is_let_in():
    with server_and_gate() as (door, _):
        port = door.port
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.settimeout(5)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        if not client.recv(100):
            raise OSError("closed")


def test_an_address_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError):
        TokenProxy("127.0.0.1", other.getsockname()[1], 1)
