"""Which steps a GPU check has on this machine, the most important first."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import annotator3d
from annotator3d.cli.gpu_check.machine import find_nvcc
from annotator3d.cli.gpu_check.steps import Step
from annotator3d.data.plain_json import parse_json
from annotator3d.models.sparse_library import LIBRARIES, VARIABLE, version_of

TOTAL = 600.0  # seconds for everything
PRECISIONS = ("fp16", "bf16")
_NO_CHECKOUT = "wants a checkout: run make gpu-check there"


def checkout() -> Path | None:
    """The folder with tests and tools that this package runs from; None for an installed one."""
    root = Path(annotator3d.__file__).parents[1]
    there = [root / name for name in ("pyproject.toml", "tests", "tools/bench_kernels.py")]
    return root if all(path.exists() for path in there) else None


def make_plan(root: Path | None, scratch: Path, data_root: str | None = None) -> list[Step]:
    """The steps, in their order.

    Args:
        root: as of `checkout`; without one, what needs it is skipped.
        scratch: an empty folder for work directories and files with figures.
        data_root: real scans with labels for the benchmarks; None: simulated ones.
    """
    steps = [_build(root), _check("same picks on CPU and GPU", "kernels", 60)]
    for library in LIBRARIES:
        skip = "" if version_of(library) else f"not installed ({library.install})"
        name = f"convolution on CPU and GPU, {library.name}"
        steps.append(_check(name, "convolution", 90, skip=skip, **{VARIABLE: library.name}))
    for setting in ("al", "ada"):
        for precision in PRECISIONS:
            name = f"{setting.upper()} round, {precision}"
            folder = str(scratch / f"{setting}-{precision}")
            steps.append(_check(name, "round", 60, setting, precision, folder))
    steps.append(_check("resume", "resume", 60, str(scratch / "resume")))
    steps.append(_check("memory", "memory", 60))
    steps += [_tests(root), *_benchmarks(root, scratch, data_root)]
    return steps


def _check(name: str, check: str, limit: float, *args: str, skip: str = "", **environment) -> Step:
    command = [sys.executable, "-m", "annotator3d.cli.gpu_check.checks", check, *args]
    return Step(name, command, limit, skip, environment)


def _build(root: Path | None) -> Step:
    skip = "" if root else _NO_CHECKOUT
    if root and not find_nvcc():
        skip = "no nvcc: install the CUDA toolkit, or put nvcc on the PATH"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
    return Step("build of the CUDA library", [*pip, "--editable", str(root)], 120, skip)


def _tests(root: Path | None) -> Step:
    folders = (
        [str(root / "tests" / name) for name in ("kernels", "models", "engine")] if root else []
    )
    options = ["-q", "-m", "cuda", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *folders]
    return Step("tests marked cuda", command, 180, "" if root else _NO_CHECKOUT, read=read_pytest)


def _benchmarks(root: Path | None, scratch: Path, data_root: str | None) -> list[Step]:
    tools = (
        ("kernels' benchmark", "bench_kernels.py", 90, ["--scans", "16", "--rounds", "24"]),
        ("training benchmark", "bench_train.py", 180, ["--scans", "16", "--rounds", "5"]),
    )
    steps = []
    for name, tool, limit, sizes in tools:
        file = scratch / f"{tool}.json"
        command = [sys.executable, f"{root}/tools/{tool}", "--device", "cuda", *sizes]
        command += ["--json", str(file), *(["--data-root", data_root] if data_root else [])]
        if tool == "bench_train.py":
            command += ["--backbone", "MinkUNet"]  # the one that has a rival
        skip = "" if root else _NO_CHECKOUT
        steps.append(Step(name, command, limit, skip, read=lambda _, file=file: read_figures(file)))
    return steps


def read_pytest(output: str) -> dict[str, object]:
    """Numbers of tests by outcome, from pytest's last line."""
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", output.strip().split("\n")[-1])
    return {outcome: int(number) for number, outcome in found}


def read_figures(file: Path) -> dict[str, object]:
    """What a benchmark wrote, as one table of names; ValueError if it wrote nothing."""
    try:
        report = parse_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file} was not written") from error
    flat = {f"{task} {name}": v for task, row in report.items() for name, v in row.items()}
    return {name: value for name, value in flat.items() if value is not None}
