"""What is said where Open3D cannot draw: one line that names the package, and the way out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from annotator3d.viz.desktop.system import ViewerError, check_drawing, check_window, explain

OUTPUTS = {  # what was seen where it was missing -> what is to be installed
    "ModuleNotFoundError: No module named 'open3d'": "pip install 'annotator3d[viz]'",
    "ImportError: libusb-1.0.so.0: cannot open shared object file": "apt install libusb-1.0-0",
    "OSError: libX11.so.6: cannot open shared object file": "apt install libx11-6",
    "OSError: libGL.so.1: cannot open shared object file": "apt install libgl1",
    "OSError: libEGL.so.1: cannot open shared object file": "apt install libegl1",
    "OSError: libgomp.so.1: cannot open shared object file": "apt install libgomp1",
    "RuntimeError: Failed to load vulkan library!": "libvulkan1 mesa-vulkan-drivers",
    "vkCreateInstance failed": "libvulkan1 mesa-vulkan-drivers",
    "eglInitialize failed": "libegl1 libgl1-mesa-dri",
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_missing_package_is_named(output):
    found = explain(f"noise\n{output}\n", 1)
    assert OUTPUTS[output] in found and "\n" not in found


def test_an_unknown_trouble_is_quoted_in_one_line():
    found = explain("noise\nFEngine panics\n\n", -11)
    assert "FEngine panics" in found and "\n" not in found
    assert "exit code -11" in explain("", -11)


def label(work_dir, *options, python_path="", **environment):
    """Exit code and words of ``annotator3d label``, in a process that must end by itself."""
    variables = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    variables |= {"PYTHONPATH": str(python_path), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "annotator3d", "label", str(work_dir), *options],
        capture_output=True,
        text=True,
        timeout=120,
        env=variables,
    )
    return done.returncode, done.stderr.strip()


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="DISPLAY is X11's")
@pytest.mark.parametrize("display", [None, ":4242"])
def test_without_a_display_it_says_so_and_ends(nowhere, display):
    code, words = label(nowhere, **({"DISPLAY": display} if display else {}))
    assert code == 1
    assert "DISPLAY" in words and "--web" in words and "\n" not in words


def fake(folder, name, text):
    """A package that fails like the real one where something is missing."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)
    return folder


@pytest.mark.parametrize(
    "text, named",
    [
        ("raise ModuleNotFoundError(\"No module named 'open3d'\")", "annotator3d[viz]"),
        ("raise ImportError('libusb-1.0.so.0: cannot open shared object')", "libusb-1.0-0"),
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
    ],
)
def test_a_broken_open3d_costs_a_line_not_a_crash(tmp_path, monkeypatch, text, named):
    monkeypatch.setenv("PYTHONPATH", str(fake(tmp_path, "open3d", text)))
    with pytest.raises(ViewerError) as caught:
        check_drawing("or label in a browser: --web")
    words = str(caught.value)
    assert named in words and words.endswith("--web") and "\n" not in words


def test_the_command_names_the_missing_library_and_ends_with_1(tmp_path):
    broken = fake(tmp_path, "open3d", "raise ImportError('libusb-1.0.so.0: no such file')")
    code, words = label(tmp_path, python_path=broken, WAYLAND_DISPLAY="wayland-0")
    assert code == 1
    assert "apt install libusb-1.0-0" in words and "--web" in words and "\n" not in words


def test_an_open3d_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(fake(tmp_path, "open3d", "import time; time.sleep(600)")))
    monkeypatch.setattr("annotator3d.viz.desktop.system.PROBE_SECONDS", 1.0)
    with pytest.raises(ViewerError, match="drew nothing in 1 s"):
        check_drawing()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="DISPLAY is X11's")
def test_a_display_is_looked_for_before_open3d(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(
        "annotator3d.viz.desktop.system.check_drawing", lambda _: pytest.fail("Open3D")
    )
    with pytest.raises(ViewerError, match="no display"):
        check_window()


def test_without_viser_the_browser_says_what_to_install(tmp_path):
    broken = fake(tmp_path, "viser", "raise ImportError('no viser')")
    code, words = label(tmp_path, "--web", python_path=broken)
    assert code == 1
    assert "pip install 'annotator3d[web]'" in words and "\n" not in words
