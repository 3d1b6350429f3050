"""What `annotator3d doctor` says of the kernels: which run, which could, and what to do then."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from annotator3d import kernels
from annotator3d.cli import doctor

FILE = "/somewhere/libannotator3d.so"
CPU = {"library": FILE, "variant": "v3", "reason": None}
CUDA = {"library": FILE, "architectures": "80 90", "reason": None}
NAMES = ("kernels: C++ on CPU", "kernels: torch reference", "kernels: CUDA")


def report(monkeypatch, cpu: dict, cuda: dict) -> dict[str, dict]:
    monkeypatch.setattr(kernels, "build_info", lambda: cpu)
    monkeypatch.setattr(kernels, "cuda_info", lambda: cuda)
    checks = {check["name"]: check for check in doctor.examine()["checks"]}
    assert all(name in checks for name in NAMES)
    return {name: checks[name] for name in NAMES}


def test_built_and_usable_libraries_are_named_with_their_variant(monkeypatch):
    monkeypatch.delenv("ANNOTATOR3D_KERNELS", raising=False)
    cpu, reference, cuda = report(monkeypatch, CPU, CUDA).values()
    assert cpu["found"] == f"v3 variant, {FILE}"
    assert cuda["found"] == f"usable; built (80 90), {FILE}"
    assert [c["state"] for c in (cpu, reference, cuda)] == ["ok"] * 3
    assert "always available" in reference["found"]


def test_a_variant_that_was_asked_for_is_shown_as_such(monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_KERNELS", "generic")
    cpu, _, _ = report(monkeypatch, CPU | {"variant": "generic"}, CUDA).values()
    assert cpu["found"] == f"generic variant (ANNOTATOR3D_KERNELS=generic), {FILE}"


def test_kernels_that_were_switched_off_are_not_called_unbuilt(monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_KERNELS", "reference")
    off = {"library": None, "variant": "reference", "reason": "ANNOTATOR3D_KERNELS is reference"}
    cpu, reference, _ = report(monkeypatch, off, CUDA).values()
    assert cpu["state"] == "optional" and "ANNOTATOR3D_KERNELS" in cpu["found"]
    assert cpu["fix"] == "unset ANNOTATOR3D_KERNELS" and reference["state"] == "ok"


@pytest.mark.parametrize(
    ("cuda", "words", "fix"),
    [
        (
            {"library": None, "reason": "the CUDA library is not built"},
            "no: the CUDA library is not built; CUDA tensors use the reference",
            "nvcc",
        ),
        (
            CUDA | {"reason": "torch finds no CUDA device"},
            f"not usable: torch finds no CUDA device; built (80 90), {FILE}",
            "NVIDIA GPU, its driver",
        ),
    ],
)
def test_a_cuda_library_that_cannot_run_says_why(monkeypatch, cuda, words, fix):
    missing = {"library": None, "variant": "reference", "reason": "not built"}
    cpu, _, found = report(monkeypatch, missing, cuda).values()
    assert (found["found"], found["state"]) == (words, "optional") and fix in found["fix"]
    assert cpu["found"] == "no: not built" and "g++" in cpu["fix"]


def test_this_machine_is_described_by_what_its_libraries_say():
    checks = {check["name"]: check for check in doctor.examine()["checks"]}
    cpu, cuda = kernels.build_info(), kernels.cuda_info()
    assert (checks[NAMES[0]]["state"] == "ok") == bool(cpu["library"])
    assert (cpu["library"] or "no: ") in checks[NAMES[0]]["found"]
    usable = bool(cuda["library"]) and cuda["reason"] is None
    assert (checks[NAMES[2]]["state"] == "ok") == usable


def test_every_package_that_is_required_is_checked():
    """From pyproject.toml: a new dependency needs a line here."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    block = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    names = {re.match(r"[\w-]+", entry)[0] for entry in re.findall(r'^  "([^"]+)"', block, re.M)}
    assert "torch" in names
    checked = {package.name for package in doctor.PACKAGES} | {"spconv-cu120", "spconv-cu126"}
    assert names == checked
