"""Writes test cases for csrc/host/cases.cpp: inputs and the reference's answers, a file each.

Run as a script by tools/check_kernels.sh: ``python tests/kernel_cases.py FOLDER``.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from kernel_paths import KINDS, cloud
from torch import Tensor

from annotator3d.kernels import reference
from annotator3d.kernels.device_abi import SCORES, prediction_of
from annotator3d.kernels.score import score_table

Case = dict[str, object]
GROUP = ("cells", "scan", "point_to_voxel", "members", "splits", "scan_splits")
SELECTED = ("cells", "scores", "counts", "pick_of_point", "point_scores")
EXACT = torch.tensor([[0, -1e3, -1e3, -1e3], [0, 0, -1e3, -1e3], [0.0] * 4])
"""Logits whose entropy (0, 1 and 2 bits) and margin float32 gives exactly."""
LENGTHS = [[], [0], [1], [70, 0, 30], [300, 0, 0, 500]]


def write(path: Path, case: Case) -> None:
    """Arrays with their names; whole numbers as int64, others as float64."""
    with path.open("wb") as file:
        for name, value in case.items():
            if isinstance(value, str):
                data = value.encode()
            elif isinstance(value, Tensor):
                data = value.contiguous().numpy().tobytes()
            else:
                data = np.array(
                    value, np.float64 if isinstance(value, float) else np.int64
                ).tobytes()
            file.write(struct.pack("<32sq", name.encode(), len(data)) + data)


def answers(names: tuple[str, ...], values: tuple[Tensor, ...] | None) -> Case:
    """Expected arrays, or that a value is refused."""
    if values is None:
        return {"bad": 1}
    return {"bad": 0, **{f"={n}": v for n, v in zip(names, values, strict=False)}}


def answer(names: tuple[str, ...], function, *args) -> Case:
    try:
        values = function(*args)
    except ValueError:
        return answers(names, None)
    return answers(names, (values,) if isinstance(values, Tensor) else values)


def batch(lengths: list[int], kind: str, seed: int) -> tuple[Tensor, Tensor]:
    points = cloud(seed, sum(lengths), kind)
    return points, torch.tensor([0, *np.cumsum(lengths, dtype=np.int64).tolist()])


def predicted(prediction: Tensor, classes: int) -> Case:
    described, prediction = prediction_of(prediction, classes)
    given = {"prediction": prediction, "kind": described.kind}
    return given | {"rows": len(prediction), "classes": classes}


def groups() -> Iterator[Case]:
    for number, kind in enumerate(KINDS):
        for lengths in LENGTHS:
            points, splits = batch(lengths, kind, number)
            common = {"operation": "group", "splits": splits, "size": 0.25}
            if number % 2:
                points[len(points) // 2 :, 0] = points[: (len(points) + 1) // 2, 0]
            yield (
                common
                | {"points": points, "stride": 4}
                | answer(GROUP, reference.voxelize, points, 0.25, splits)
            )
    for bad in (float("nan"), float("inf"), 1e10, -1e30):
        points, splits = batch([300], "dense", 0)
        points[77, 1] = bad
        yield (
            common
            | {"points": points, "stride": 4, "splits": splits}
            | answer(GROUP, reference.voxelize, points, 0.25, splits)
        )
    cells = torch.tensor([[0, 0, 0]] * 2500 + [[2**31 - 1, -(2**31), 5]] * 65, dtype=torch.int32)
    splits = torch.tensor([0, 2500, 2565])
    yield (
        common
        | {"cells": cells, "splits": splits}
        | answer(GROUP, reference.group_cells, cells, splits)
    )


def predictions(n: int, classes: int, seed: int) -> Iterator[Tensor]:
    """Logits and labels; some with a value that is refused."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (n, classes)).astype(np.float32))
    labels = torch.from_numpy(rng.choice([0, classes - 1, 255], n))
    yield from (logits, logits.double().round(), labels.to(torch.uint8), labels.int(), labels)
    for bad in (logits.clone(), labels.clone()):
        bad[n // 2] = float("nan") if bad.is_floating_point() else classes
        yield bad


def scores() -> Iterator[Case]:
    points, splits = batch([200, 0, 133], "dense", 0)
    group = reference.voxelize(points, 0.25, splits)
    layout = (group[2], group[3], group[4], group[1])
    table = score_table(500)
    voxels = {"point_to_voxel": group[2], "voxels": len(group[0])}
    for classes in (1, 2, 20, 47, 48, 254):
        for prediction in predictions(len(points), classes, classes):
            common = predicted(prediction, classes)
            args = (prediction, *layout)
            found = answer(("out",), reference.confusion, *args, table, classes)
            yield {"operation": "confusion", "table": table, **voxels, **common, **found}
            if prediction.dim() == 1:
                found = answer(("out",), reference.histogram, *args, classes)
                yield {"operation": "histogram", **voxels, **common, **found}
            elif prediction.dtype == torch.float32:
                found = answer(("entropy", "margin"), reference.point_scores, prediction)
                yield {"operation": "point_scores", **common, **found}


def selections() -> Iterator[Case]:
    for number, lengths in enumerate(LENGTHS):
        for kind in KINDS[:4]:
            points, splits = batch(lengths, kind, number)
            n, b = len(points), len(splits) - 1
            asked = (points[::5, :3] / 0.25).floor().int()
            bounds = torch.searchsorted(torch.arange(0, n, 5), splits)
            rows = torch.arange(n).flip(0) // 2
            seeds, table = torch.arange(b) * 7 - 5, score_table(n)
            for score, k in (("none", 600), ("vcd", 9), ("entropy", 3), ("margin", 5), ("vcd", 0)):
                order = torch.randperm(max(n, 1), generator=torch.Generator().manual_seed(k))
                logits = EXACT[order % len(EXACT)]
                choice = (table, asked, bounds, seeds, k)
                yield selection(points, splits, logits, rows, score, *choice)


def selection(points, splits, logits, rows, score, table, asked, bounds, seeds, k) -> Case:
    args = (points, splits, 0.25, logits, rows, 4, score, "mean", table, asked, bounds, seeds)
    found = reference.select(*args, k, 2, 50.0, True)
    return {
        "operation": "select",
        **{"points": points, "stride": 4, "splits": splits, "size": 0.25},
        **predicted(logits, 4),
        **{"row_of_point": rows, "score": SCORES.index(score), "mean": 1, "table": table},
        **{"asked_cells": asked, "asked_splits": bounds, "seeds": seeds},
        **{"k": k, "min_points": 2, "max_range": 50.0},
        **answers(SELECTED, found),
    }


def neighbours() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    for stride in (1, 2):
        for lengths in LENGTHS[1:]:
            points, splits = batch(lengths, "dense", stride)
            group = reference.voxelize(points, float(stride), splits)
            keep = torch.arange(len(group[0])) % 3 > 0
            known = torch.bincount(group[1][keep], minlength=len(lengths)).cumsum(0)
            cells, bounds = group[0][keep], torch.cat([torch.zeros(1, dtype=torch.int64), known])
            args = (points, splits, cells, bounds, stride)
            yield {
                "operation": "interpolation",
                **{"point_points": points, "point_stride": 4, "point_splits": splits},
                **{"cells": cells, "splits": bounds, "stride": stride},
                **answer(("index", "weight"), reference.interpolation, *args),
            }
            index, weight = reference.interpolation(*args)
            for wide, columns in ((0, 0), (0, 7), (1, 3)):
                dtype = torch.float64 if wide else torch.float32
                features = torch.randn(len(cells), columns, generator=generator, dtype=dtype)
                grad = torch.randn(len(points), columns, generator=generator, dtype=dtype)
                back = (grad, index, weight, len(cells))
                yield {
                    "operation": "devoxelize",
                    **{"features": features, "grad": grad, "wide": wide, "columns": columns},
                    **{"index": index, "weight": weight.to(dtype), "voxels": len(cells)},
                    **{"rows": len(points), "neighbours": 8},
                    **answer(("out",), reference.devoxelize, features, index, weight),
                    "=back": reference.devoxelize_backward(*back),
                }
                mean = (grad, *group[2:5])
                yield {
                    "operation": "voxel_mean",
                    **{"features": grad, "wide": wide, "columns": columns},
                    **{"members": group[3], "splits": group[4]},
                    **answer(("out",), reference.voxel_mean, *mean),
                }


def main(folder: Path) -> None:
    for part in (groups, scores, selections, neighbours):
        for number, case in enumerate(part()):
            write(folder / f"{part.__name__}_{number:03}.case", case)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
