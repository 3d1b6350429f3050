"""Pictures of scans and curves of runs; a notebook shows what these functions return."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotator3d.analysis.figures.birdseye import birds_eye
from annotator3d.analysis.figures.curves import budget_curves
from annotator3d.analysis.runs import read_run
from annotator3d.analysis.summary import summarise
from annotator3d.data.files import atomic_write
from annotator3d.data.scan import Scan
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.viz.colours import classes, ramp


@dataclass(frozen=True)
class Picture:
    """A PNG. The last line of a notebook's cell shows it."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"Picture({len(self.png):,} bytes of PNG)"

    def save(self, path: str | Path) -> Path:
        """Write the PNG; a file of that name is replaced."""
        with atomic_write(Path(path)) as file:
            file.write(self.png)
        return Path(path)


def plot_scan(
    scan: Scan | ArrayLike,
    picks: Iterable[Any] = (),
    *,
    values: ArrayLike | None = None,
    taxonomy: Taxonomy | None = None,
    voxel_size: float = 0.25,
    zoom: int = 0,
    title: str | None = None,
) -> Picture:
    """A scan from above, x (forward) to the right and y (left) up, with numbered voxels.

    Args:
        scan: a `Scan`, or xyz [N, 3] in metres, finite.
        picks: `VoxelPick`s or queries of the ledger, in the order of their numbers.
        values: [N] what the points are coloured by: floats, such as utilities; or train ids, in the
            colours of `taxonomy`. None: height.
        taxonomy: the class list of train ids (``run.pool.taxonomy``).
        voxel_size: edge of the picked voxels in metres.
        zoom: how many of the first voxels are also shown close up, at most 4.

    Raises ValueError for values that are not [N], or train ids without `taxonomy`.
    """
    xyz = np.asarray(scan.xyz if isinstance(scan, Scan) else scan, np.float32)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"scan: expected points [N, 3], got {list(xyz.shape)}")
    shown = xyz[:, 2] if values is None else np.asarray(values)
    if shown.shape != (len(xyz),):
        raise ValueError(f"values: expected [{len(xyz)}], one per point, got {list(shown.shape)}")
    colours, legend = _colours(shown, taxonomy)
    cells = [pick.cell for pick in picks]
    return Picture(
        birds_eye(xyz, colours, cells, voxel_size, title=title, zoom=zoom, legend=legend)
    )


def _colours(
    values: NDArray, taxonomy: Taxonomy | None
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    if values.dtype.kind == "f":
        return ramp(values, "viridis"), {}
    if taxonomy is None:
        raise ValueError("values: train ids need a taxonomy, whose colours they have")
    legend = dict(zip(taxonomy.names, taxonomy.colors / 255, strict=True))
    palette = (taxonomy.colors / 255).astype(np.float32)
    return classes(values.astype(np.uint8), palette, len(values)), legend


def compare_runs(work_dirs: Iterable[str | Path]) -> list[dict[str, Any]]:
    """One row for each round of each finished run; ``pandas.DataFrame`` takes the list.

    Returns:
        dicts with ``setting``, ``strategy``, ``seed``, ``round``, ``epoch``, ``miou`` (percent),
        ``voxels``, ``points``, ``answered``, ``labelled_points`` (cumulative) and ``work_dir``.

    Raises:
        FileNotFoundError: no run in one of the folders.
        ValueError: a run is not finished or asked nothing, or two have different classes or are of
            one setting, strategy and seed.
    """
    columns = ("round", "epoch", "miou", "voxels", "points", "answered", "labelled_points")
    return [
        {
            **{name: run[name] for name in ("setting", "strategy", "seed")},
            **{name: entry[name] for name in columns},
            "work_dir": run["work_dir"],
        }
        for run in _summary(work_dirs)["runs"]
        for entry in run["rounds"]
    ]


def plot_budget_curves(work_dirs: Iterable[str | Path]) -> Picture:
    """mIoU against queried voxels and labelled points, a line for each strategy; over several seeds
    the mean, in a band from minimum to maximum. Raises as `compare_runs`.
    """
    return Picture(budget_curves(_summary(work_dirs)))


def _summary(work_dirs: Iterable[str | Path]) -> dict[str, Any]:
    if isinstance(work_dirs, str | Path):
        work_dirs = [work_dirs]
    return summarise([read_run(folder) for folder in work_dirs], None, None, None, 0.0)
