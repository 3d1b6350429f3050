"""Pages of other sites and other users of the machine neither see nor do anything (Chromium)."""

from __future__ import annotations

import http.server
import os
import re
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest
from browser_driver import WAIT, serving, started_browser
from viewer_driver import kinds, make_work_dir

pytestmark = [pytest.mark.gui, pytest.mark.timeout(300)]
EVIL = "--host-resolver-rules=MAP evil.example 127.0.0.1"  # a name pointed at this machine
# What a page tries: 'opened' of a websocket, or how it ended.
KNOCK = """async ([url, protocol]) => await new Promise(done => {
    const socket = new WebSocket(url, protocol);
    socket.onopen = () => done('opened');
    socket.onerror = () => done('refused');
})"""
READ = """async ([url, mode]) => {
    try {
        const answer = await fetch(url, {credentials: 'include', mode: mode});
        return answer.type + ' ' + (await answer.text()).length;
    } catch (error) { return 'refused'; }
}"""
FRAME = """async url => await new Promise(done => {
    const frame = document.createElement('iframe');
    frame.onload = () => {
        try { done(frame.contentDocument.body.innerText); } catch (error) { done('refused'); }
    };
    frame.src = url;
    document.body.append(frame);
})"""


@pytest.fixture(scope="module")
def browser():
    with started_browser(EVIL) as started:
        yield started


@pytest.fixture
def attacker():
    """A server of somebody else on this machine: (its port, the cookies that it was sent)."""
    cookies = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            cookies.append(self.headers.get("Cookie", ""))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>a nice page</p>")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, cookies
    server.shutdown()
    server.server_close()


def test_a_page_of_another_origin_neither_reads_nor_writes(browser, attacker, make_kitti, tmp_path):
    import viser

    work_dir = make_work_dir(make_kitti(scans=1, points=4000), tmp_path / "run", budget=6)
    port, cookies = attacker
    with serving(work_dir) as (_, link):
        context = browser.new_context(viewport={"width": 800, "height": 600})
        mine = context.new_page()
        mine.set_default_timeout(WAIT)
        mine.goto(link)
        mine.get_by_text("(number 1,", exact=False).first.wait_for()
        place = mine.url.rstrip("/")  # even the path is known to the attacker
        protocol = f"viser-v{viser.__version__}"
        own = mine.evaluate(KNOCK, [place.replace("http", "ws", 1), protocol])
        assert own == "opened"  # the same call, from the page itself

        top = re.match(r"http://[^/]+", place).group()
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"evil.example:{port}"):
            other = context.new_page()
            other.goto(f"http://{host}/")
            for target in (place, top):
                knocked = other.evaluate(KNOCK, [target.replace("http", "ws", 1), protocol])
                assert knocked == "refused", (host, target)
                for mode in ("cors", "no-cors"):
                    read = other.evaluate(READ, [f"{target}/", mode])
                    assert read in ("refused", "opaque 0"), (host, target, mode)
                framed = other.evaluate(FRAME, f"{target}/")
                assert framed in ("refused", ""), (host, target)
            other.close()
        rebound = context.new_page()  # the name of the attacker's page, pointed at our port
        answer = rebound.goto(link.replace("127.0.0.1", "evil.example"))
        assert answer.status == 403
        knocked = rebound.evaluate(
            KNOCK, [place.replace("http://127.0.0.1", "ws://evil.example"), protocol]
        )
        assert knocked == "refused"
        assert cookies and not any("annotator3d" in sent for sent in cookies)

        mine.keyboard.press("1")  # the person himself goes on
        mine.get_by_text("(number 2,", exact=False).first.wait_for()
    assert kinds(work_dir) == ["answer"]


def listening_ports(pid):
    """TCP ports at which a process listens."""
    inodes = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(handle))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def unix_sockets(pid):
    inodes = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    rows = [row.split() for row in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]]
    return {row[7] for row in rows if len(row) > 7 and f"socket:[{row[6]}]" in inodes}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_another_user_of_the_machine_finds_one_closed_door(make_kitti, tmp_path):
    work_dir = make_work_dir(make_kitti(scans=1, points=4000), tmp_path / "run", budget=6)
    with serving(work_dir) as (process, link):
        port = int(re.search(r":(\d+)/", link)[1])
        assert listening_ports(process.pid) == {port}
        (inner,) = {path for path in unix_sockets(process.pid) if path.startswith("/")}
        assert stat.S_IMODE(Path(inner).parent.stat().st_mode) == 0o700
        if os.geteuid() == 0:  # only root can try as somebody else
            assert connects_as_nobody(inner) is False
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 403")
    assert "?token=" in link


def connects_as_nobody(path):
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            socket.socket(socket.AF_UNIX).connect(path)
        except PermissionError:
            os._exit(7)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 7
