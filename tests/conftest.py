"""Fixtures for every test: real scans where there are any, tiny made-up ones everywhere."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from kitti_scans import make_kitti_in

# How long an example takes says something of the machine, not of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each worker has about one core, and so have its processes: more threads wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# Else each process of a test compiles the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What a test says yes to is forgotten, and what the user said yes to counts in no test.
os.environ["ANNOTATOR3D_CONFIG"] = tempfile.mkdtemp(prefix="annotator3d-config-")
atexit.register(shutil.rmtree, os.environ["ANNOTATOR3D_CONFIG"], True)


@pytest.fixture(autouse=True)
def results_of_checks(tmp_path_factory, monkeypatch):
    """What `annotator3d check` keeps does not go into the cache of whoever runs the tests."""
    from annotator3d.data.checking import store

    real, folder = store.cache_folder, tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setattr(
        store, "cache_folder", lambda: real() if "ANNOTATOR3D_CACHE" in os.environ else folder
    )


KITTI_VARIABLE = "ANNOTATOR3D_SEMANTICKITTI"

# Typed from the benchmark's table (raw id, class of the 19-class task), not from our file.
SEMANTICKITTI_19 = """
0 ignored, 1 ignored, 10 car, 11 bicycle, 13 other-vehicle, 15 motorcycle, 16 other-vehicle,
18 truck, 20 other-vehicle, 30 person, 31 bicyclist, 32 motorcyclist, 40 road, 44 parking,
48 sidewalk, 49 other-ground, 50 building, 51 fence, 52 ignored, 60 road, 70 vegetation, 71 trunk,
72 terrain, 80 pole, 81 traffic-sign, 99 ignored, 252 car, 253 bicyclist, 254 person,
255 motorcyclist, 256 other-vehicle, 257 other-vehicle, 258 truck, 259 other-vehicle
"""
SEMANTICKITTI_ORDER = """
car bicycle motorcycle truck other-vehicle person bicyclist motorcyclist road parking sidewalk
other-ground building fence vegetation trunk terrain pole traffic-sign
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device here"))
    # The longest files first: else one core waits at the end for the windows on the other.
    long = {item.path for item in items if {"gui", "slow"} & set(item.keywords)}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def kitti_root() -> Path:
    """Root of real SemanticKITTI scans (it holds ``sequences``); skips where there is none."""
    value = os.environ.get(KITTI_VARIABLE)
    if not value:
        pytest.skip(f"{KITTI_VARIABLE} is not set: no real scans here")
    root = Path(value)
    if not (root / "sequences").is_dir():
        pytest.fail(f"{KITTI_VARIABLE}={value} has no folder 'sequences'")
    return root


@pytest.fixture(scope="session")
def kitti_table() -> dict[int, str]:
    """Raw id -> class name, or ``ignored``, of every raw id of SemanticKITTI (19 classes)."""
    items = (item.split() for item in SEMANTICKITTI_19.split(","))
    return {int(raw_id): name for raw_id, name in items}


@pytest.fixture(scope="session")
def kitti_order() -> list[str]:
    """The 19 class names by train id."""
    return SEMANTICKITTI_ORDER.split()


@pytest.fixture
def make_kitti(tmp_path: Path) -> Callable[..., Path]:
    """See `make_kitti_in`."""
    return make_kitti_in(tmp_path)


@pytest.fixture(scope="session")
def asked(tmp_path_factory):
    """What tests of work packages start from: see `package_world.make_asked`; not to be changed."""
    from package_world import make_asked  # imports this module

    folder = tmp_path_factory.mktemp("asked")
    make_asked(folder)
    return folder


@pytest.fixture
def home(asked, tmp_path):
    """A work directory of its own with open queries."""
    return shutil.copytree(asked / "run", tmp_path / "run")
