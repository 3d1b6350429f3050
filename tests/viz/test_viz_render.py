"""Pictures without a window: by Open3D, and by matplotlib where Open3D cannot draw."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from viewer_driver import make_work_dir, missing

from annotator3d.api.stills import still_of
from annotator3d.cli.main import main
from annotator3d.data.scan import Scan
from annotator3d.ledger.ledger import Ledger
from annotator3d.viz.camera import FIELD_OF_VIEW, Camera, perspective
from annotator3d.viz.colours import PART
from annotator3d.viz.desktop.system import ViewerError, check_drawing
from annotator3d.viz.render import draw_plainly, render
from annotator3d.viz.still import Still, still_of_scan

WIDTH, HEIGHT = 640, 480
ORANGE = np.round(PART * 255)


@pytest.fixture
def work_dir(make_kitti, tmp_path):
    return make_work_dir(make_kitti(points=4000), tmp_path / "run")


def camera_of(still):
    return Camera(*perspective(still.camera(), FIELD_OF_VIEW, WIDTH / HEIGHT), WIDTH, HEIGHT)


def drawn_right(picture, still):
    """Whether each point of the current voxel is orange where the camera's mathematics puts it."""
    pixels, _ = camera_of(still).project(still.xyz[still.current])
    found = []
    for x, y in pixels.round().astype(int):
        near = picture[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].reshape(-1, 3)
        found.append((np.abs(near.astype(int) - ORANGE).max(1) < 12).any())
    assert len(found) > 1
    return all(found)


@pytest.fixture
def no_open3d(tmp_path, monkeypatch):
    (tmp_path / "fake" / "open3d").mkdir(parents=True)
    text = "raise ImportError('libusb-1.0.so.0: cannot open shared object file')"
    (tmp_path / "fake" / "open3d" / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))


def test_matplotlib_draws_the_voxel_where_the_camera_sees_it(work_dir, tmp_path):
    still = still_of(work_dir, 2)
    draw_plainly(still, tmp_path / "x.png", WIDTH, HEIGHT)
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert drawn_right(picture, still)
    assert (picture[0, 0] == 255).all()  # the light background


@pytest.mark.gui
def test_open3d_draws_the_voxel_where_the_camera_sees_it(work_dir, tmp_path):
    try:
        check_drawing()
    except ViewerError as error:
        missing(str(error))
    still, said = still_of(work_dir, 2), []
    assert render(still, tmp_path / "x.png", WIDTH, HEIGHT, said.append) == "open3d"
    assert said == []
    assert drawn_right(np.asarray(Image.open(tmp_path / "x.png").convert("RGB")), still)


def test_without_open3d_the_command_says_what_it_did_instead(work_dir, tmp_path, no_open3d, capsys):
    out = tmp_path / "x.png"
    assert main(["render", str(work_dir), "--query", "1", "--out", str(out)]) == 0
    words = capsys.readouterr().out
    assert (
        "libusb-1.0-0" in words and "matplotlib instead" in words and "drawn by matplotlib" in words
    )
    assert Image.open(out).size == (1280, 720)


def test_a_scan_file_needs_no_work_dir(make_kitti, tmp_path, no_open3d):
    scan = make_kitti(points=500) / "sequences" / "00" / "velodyne" / "000001.bin"
    out = tmp_path / "x.png"
    command = ["render", str(scan), "--out", str(out), "--size", "320x200"]
    assert main([*command, "--colour", "intensity", "--background", "dark"]) == 0
    picture = np.asarray(Image.open(out))
    assert picture.shape[:2] == (200, 320)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    "options, words",
    [
        (["--query", "99"], "99"),
        (["--size", "wide"], "--size"),
        (["--size", "0x9"], "--size"),
        (["--colour", "hight"], "mode"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_file(
    work_dir, tmp_path, capsys, options, words
):
    out = tmp_path / "x.png"
    assert main(["render", str(work_dir), "--out", str(out), *options]) != 0
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_scan_file_has_no_queries(make_kitti, tmp_path, capsys):
    scan = make_kitti() / "sequences" / "00" / "velodyne" / "000001.bin"
    for options in (["--query", "1"], ["--colour", "confusion"]):
        assert main(["render", str(scan), "--out", str(tmp_path / "x.png"), *options]) == 2
        assert "is a scan file" in capsys.readouterr().err


def test_a_picture_writes_nothing_to_the_ledger(work_dir):
    before = (work_dir / "ledger.sqlite").read_bytes()
    still_of(work_dir, None)
    assert (work_dir / "ledger.sqlite").read_bytes() == before


def test_answers_are_in_the_picture(work_dir):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names, digest, size = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
        one, two = [q for q in ledger.queries() if q.scan == "00/000000"][:2]
    with Ledger.open(work_dir / "ledger.sqlite", names, digest, size) as ledger:
        ledger.answer(two.id, np.zeros(two.num_points, np.uint8), annotator="ann")
    still = still_of(work_dir, one.id, mode="answer")
    car = np.isclose(still.colours, np.float32([100, 150, 245]) / 255).all(1)
    assert car.sum() == two.num_points
    assert len(still.current) == one.num_points


def test_a_still_survives_its_file(tmp_path):
    random = np.random.default_rng(0)
    scan = Scan.from_raw("x", random.normal(0, 5, (50, 3)).astype("f4"), random.random(50))
    still = still_of_scan(scan, "height", "above", "dark")
    still.save(tmp_path / "still.npz")
    again = Still.load(tmp_path / "still.npz")
    for name, value in vars(still).items():
        found = getattr(again, name)
        assert np.array_equal(found, value) and type(found) is type(value), name
