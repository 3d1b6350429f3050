"""`label --web`: addresses that make no sense, a server that is told to end, and visitors."""

from __future__ import annotations

import os
import signal
import socket
from urllib.parse import urlsplit

import pytest
from browser_driver import serving
from viewer_driver import START_SECONDS, Viewer, drawing_is_known, need_window, virtual_display

pytest.importorskip("viser")
pytest.importorskip("aiohttp")

from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Ledger

PROBES = {
    "a port scan": b"",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "garbage": b"\x00\xff\xfe\r\n\r\n",
    "SSH": b"SSH-2.0-probe\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "half a websocket": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "99999"], "--port: expected 0 (a free one) to 65535, got 99999"),
        (["--port", "65536"], "to 65535, got 65536"),
        (["--port", "-1"], "to 65535, got -1"),
        (["--host", ""], "host: expected a"),
        (["--host", " "], "--host: expected an address"),
        (["--host", "no.such.invalid"], "knows no such address"),
    ],
)
def test_an_address_that_makes_no_sense_is_an_error_of_usage(home, capsys, options, words):
    before = (home / "ledger.sqlite").read_bytes()
    assert main(["label", str(home), "--web", *options]) == 2
    said = capsys.readouterr()
    assert words in said.err and "Traceback" not in said.err and not said.out
    assert (home / "ledger.sqlite").read_bytes() == before  # nothing was opened


@pytest.mark.parametrize("options", [["--port", "9000"], ["--host", "0.0.0.0"]])
def test_an_address_without_web_is_said(home, capsys, options):
    assert main(["label", str(home), *options]) == 2
    assert f"{options[0]} {options[1]} belongs to --web" in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_a_port_that_is_taken_is_said_and_no_other_one_is_taken(home, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["label", str(home), "--web", "--port", port]) == 2
    assert f"--port {port}: another program serves there" in capsys.readouterr().err


def held(home):
    with Ledger.read(home / "ledger.sqlite") as ledger:
        return {query.id for query in ledger.queries() if ledger.leases.holder(query.id)}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_server_that_is_told_to_end_gives_back_what_it_holds(home, number, monkeypatch, capsys):
    """In this process, with what a browser would make of the session."""

    def serve(session, *args, **options):
        assert held(home)  # the session holds what is on the screen
        os.kill(os.getpid(), number)
        signal.pause()

    monkeypatch.setattr("annotator3d.viz.web.server.serve", serve)
    before = signal.getsignal(number)
    assert main(["label", str(home), "--web", "--port", "0"]) == 128 + number
    assert held(home) == set()
    assert "all answers are saved" in capsys.readouterr().err
    assert signal.getsignal(number) == before


@pytest.mark.timeout(200)
def test_visitors_that_are_no_browser_leave_no_trace_and_a_signal_ends_the_server(home):
    with serving(home) as (process, link):
        port = urlsplit(link).port
        for data in PROBES.values():
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(data)
                if data:
                    status = client.recv(4096).split()[1]
                    assert status in (b"400", b"403", b"405")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
        rest = process.output.partition(link)[2].partition("\n")[2]
    assert "all answers are saved" in rest and len(rest.splitlines()) == 1
    log = home / "viewer.log"
    assert not log.exists() or not log.read_text()


@pytest.mark.gui
@pytest.mark.timeout(300)
def test_a_window_that_is_told_to_end_gives_back_what_it_holds(home):
    need_window()
    with virtual_display() as display:
        viewer = Viewer(display, home.parent, [str(home)], drawing_is_known)
        try:
            viewer.wait(lambda state: state["query"] is not None, START_SECONDS)
            assert held(home)
            viewer.process.send_signal(signal.SIGTERM)
            assert viewer.process.wait(timeout=60) == 128 + signal.SIGTERM, viewer.output
            assert "all answers are saved" in viewer.output and held(home) == set()
        finally:
            viewer.end()
