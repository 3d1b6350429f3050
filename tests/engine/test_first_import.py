"""Processes that start at the same time on a new machine do not read half of yapf's grammar."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

CHILD = textwrap.dedent(
    """
    import fcntl, os, sys
    from importlib.abc import MetaPathFinder

    def is_held():
        path = os.path.join(os.environ["ANNOTATOR3D_CACHE"], "yapf.lock")
        if not os.path.exists(path):
            return None
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    class Watch(MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "yapf_third_party._ylib2to3.pygram":  # it writes the grammar
                print("loading, held:", is_held())
            return None

    sys.meta_path.insert(0, Watch())
    import annotator3d.registry
    print("loaded, held:", is_held())
    """
)


def start(cache, **more):
    env = {**os.environ, "ANNOTATOR3D_CACHE": str(cache), "XDG_CACHE_HOME": str(cache), **more}
    found = subprocess.run(
        [sys.executable, "-c", CHILD], env=env, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_the_grammar_is_written_and_read_by_one_process_at_a_time(tmp_path):
    assert start(tmp_path / "cache") == ["loading, held: True", "loaded, held: False"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_to_stops_nobody(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    assert start(tmp_path / "cache")[-1] == "loaded, held: None"


def test_a_file_where_the_cache_should_be_stops_nobody(tmp_path):
    (tmp_path / "cache").touch()
    assert start(tmp_path / "cache")[-1] == "loaded, held: None"
