"""What a session does when a file is missing, damaged, changed, or read ahead of time."""

import threading

import numpy as np
import pytest
from session_world import (
    CELLS,
    DIGEST,
    NAMES,
    make_scan,
    make_world,
    seen,
    start,
)

from annotator3d.annotation.opening import ClassListChangedError, open_session
from annotator3d.annotation.prefetch import Prefetcher
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.views import ScanUnavailableError
from annotator3d.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.mark.parametrize("trouble", ["gone", "fingerprint", "points", "cell"])
def test_a_scan_that_changed_or_vanished_is_named_and_set_aside(path, trouble):
    source = make_world(path)
    good = source.scans["00/0"]
    if trouble == "gone":
        del source.scans["00/0"]
    elif trouble == "fingerprint":
        source.prints["00/0"] = "another file"
    elif trouble == "points":
        source.scans["00/0"] = make_scan("00/0", CELLS[:2])
    else:
        source.scans["00/0"] = make_scan("00/0", [(4, 0, 0), (6, 0, 0), (7, 0, 0)])
        source.scans["00/0"] = source.scans["00/0"].__class__.from_raw(
            "00/0", good.xyz + np.float32(2.0), good.intensity
        )
    session = start(path, source)
    words = {
        "gone": "00/0.bin is gone",
        "fingerprint": "fingerprint file 00/0, the file has 19 points and fingerprint another file",
        "points": "the ledger has 19 points",
        "cell": "asked with 4 points and has 0",
    }
    assert words[trouble] in session.set_aside["00/0"] and session.current.id == 4
    assert session.progress.set_aside == 3 and source.reads.count("00/0") == 1
    with pytest.raises(ScanUnavailableError, match="scan 00/0 cannot be shown"):
        session.go_to(1)
    assert session.current.id == 4
    session.skip()
    pace, left = session.progress.seconds_per_answer, session.progress.seconds_left
    assert left == pytest.approx(2 * pace)
    session.set_filter(Filter(scans=["00/0"]))
    assert session.current is None
    source.scans["00/0"], source.prints = good, {}
    assert session.retry_set_aside() and session.current.id == 1 and session.set_aside == {}
    session.close()


def test_an_answer_can_be_taken_back_though_its_scan_has_gone(path):
    source = make_world(path)
    session = start(path, source)
    session.assign(1)
    session.close()
    del source.scans["00/0"]
    session = start(path, source)
    assert session.undo().done == [1] and seen(path, 1) is None
    assert session.current.id == 4 and "00/0" in session.set_aside
    session.close()


@pytest.mark.parametrize(
    ("names", "digest", "words"),
    [
        (["road", "car"], DIGEST, "'tree' is gone"),
        ([*NAMES, "pole"], DIGEST, "'pole' is new"),
        (["road", "car", "trees"], DIGEST, "'tree' is gone; 'trees' is new"),
        (["car", "road", "tree"], DIGEST, "'road' was 0, is 1, 'car' was 1, is 0"),
        (NAMES, "other", "map of raw ids to classes has changed"),
    ],
)
def test_a_class_list_that_changed_is_refused_with_what_differs(path, names, digest, words):
    source = make_world(path)
    before = path.read_bytes()
    with pytest.raises(ClassListChangedError, match=words) as refused:
        open_session(path, source, "ann", names, digest)
    told = str(refused.value)
    assert "Use the class list that the queries were asked with" in told and "dry run" in told
    assert f"`annotator3d taxonomy migrate {path.parent} NEW.yaml`" in told
    assert path.read_bytes() == before
    session = open_session(path, source, "ann", NAMES, DIGEST)
    assert session.current.id == 1
    session.close()


def test_a_session_needs_a_ledger_and_a_name(path):
    source = make_world(path)
    with pytest.raises(FileNotFoundError, match="no ledger"):
        open_session(path.with_name("none.sqlite"), source, "ann", NAMES, DIGEST)
    for name in ("", " "):
        with pytest.raises(ConfigError, match="annotator"):
            open_session(path, source, name, NAMES, DIGEST)
    with pytest.raises(ConfigError, match="did you mean 'score'"):
        start(path, source, order="scores")


def test_the_next_scan_is_read_before_it_is_asked_for(path):
    source = make_world(path, scans=("00/0", "00/1", "00/2", "00/3"))
    read, plain = threading.Event(), source.scan

    def scan(scan_id):
        found = plain(scan_id)
        if scan_id == "00/2":
            read.set()
        return found

    source.scan = scan
    session = start(path, source)
    assert session.current.scan == "00/0" and read.wait(60)
    assert source.reads == ["00/0", "00/1", "00/2"]
    session.go_to(4)
    assert source.reads.count("00/1") == 1
    session.close()


def test_what_was_prefetched_is_loaded_once_and_the_oldest_is_forgotten():
    loaded = []

    def load(key):
        loaded.append(key)
        if key == "bad" and loaded.count("bad") == 1:
            raise OSError("bad is gone")
        return key.upper()

    fetch = Prefetcher(load, keep=2)
    fetch.prefetch(["a", "b"])
    assert [fetch.get("a"), fetch.get("b"), fetch.get("a")] == ["A", "B", "A"]
    assert loaded == ["a", "b"]
    fetch.get("c")  # b was used the longest ago
    fetch.get("a")
    fetch.get("b")
    assert loaded == ["a", "b", "c", "b"]
    with pytest.raises(OSError, match="bad is gone"):
        fetch.get("bad")
    assert fetch.get("bad") == "BAD"  # repaired
    fetch.forget()
    fetch.get("bad")
    assert loaded.count("bad") == 3
    fetch.close()
