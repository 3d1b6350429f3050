"""Writes test cases for the programs in csrc/checks: inputs and answers of the reference.

Run as a script by tools/check_kernels.sh: ``python tests/support/kernel_cases.py FOLDER``. Those in
FOLDER/both are for the CUDA library's code and for the CPU library, those in FOLDER/cpu for the
latter alone.
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
from annotator3d.kernels.cuda_abi import SCORES, prediction_of
from annotator3d.kernels.request import SelectionRequest
from annotator3d.kernels.score_table import score_table

Case = dict[str, object]
GROUP = ("cells", "scan", "point_to_voxel", "members", "splits", "scan_splits")
SELECTED = ("cells", "scores", "counts", "pick_of_point", "point_scores")
LENGTHS = [[], [0], [1], [70, 0, 30], [300, 0, 0, 500]]
MANY = [1300, 5, 0, 700, 513, 600]
"""Scans for every thread, some longer than what is worked on at once."""


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
        for lengths in (*LENGTHS, MANY):
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
    voxels = {"point_to_voxel": group[2], "members": group[3], "splits": group[4]}
    voxels["voxels"] = len(group[0])
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
                found = answer(("entropy", "margin"), reference.entropy_and_margin, prediction)
                yield {"operation": "point_scores", **common, **found}


def certain(n: int, classes: int, seed: int = 0) -> Tensor:
    """Logits [n, classes] whose entropy (0, 1 or 2 bits) and margin float32 gives exactly."""
    generator = torch.Generator().manual_seed(seed)
    equal = torch.tensor([1, 2, 4])[torch.randint(0, 3, (n,), generator=generator)]
    return torch.where(torch.arange(classes) < equal[:, None], 0.0, -1e3)


def selections() -> Iterator[Case]:
    for number, lengths in enumerate(LENGTHS):
        for kind in KINDS[:4]:
            points, splits = batch(lengths, kind, number)
            rows = torch.arange(len(points)).flip(0) // 2
            for score, k in (("none", 600), ("vcd", 9), ("entropy", 3), ("margin", 5), ("vcd", 0)):
                logits = certain(max(len(points), 1), 4, k)
                yield selection(points, splits, logits, 4, score, rows=rows, k=k)


def large_selections() -> Iterator[Case]:
    """Scans for every thread; predictions of every kind, by row and point by point."""
    points, splits = batch(MANY, "dense", 7)
    n = len(points)
    for classes in (1, 2, 19, 20, 33, 48, 254):
        m = 40_000 if classes < 20 else 4000  # more than one thread takes at once
        rows = torch.arange(n) * 7919 % m
        labels = torch.arange(m) * 31 % classes
        labels[::5] = 255
        for dtype in (torch.uint8, torch.int32, torch.int64):
            yield selection(points, splits, labels[:n].to(dtype), classes, "vcd")
        yield selection(points, splits, labels, classes, "vcd", rows=rows)
        logits = certain(m, classes)
        for score in ("vcd", "entropy", "margin"):
            yield selection(points, splits, logits[:n], classes, score, reduce=classes % 2)
            yield selection(points, splits, logits, classes, score, rows=rows, k=4000)
        yield selection(points, splits, logits[:n].double(), classes, "vcd")
    crowd = torch.zeros(70_000, 3)  # a voxel of more points than 16 bits count
    crowd[69_000:, 0] = torch.arange(1000)
    for score in ("none", "vcd", "entropy", "margin"):
        logits = certain(70_000, 5)
        yield selection(crowd, torch.tensor([0, 70_000]), logits, 5, score)


def refused_selections() -> Iterator[Case]:
    points, splits = batch(MANY, "dense", 7)
    n = len(points)
    logits, labels, rows = certain(n, 5), torch.arange(n) % 5, torch.arange(n)
    for bad in (float("nan"), float("inf"), 1e30):
        wrong = points.clone()
        wrong[n // 2, 1] = bad
        yield selection(wrong, splits, logits, 5, "vcd")
    for score in ("vcd", "entropy", "margin"):
        for bad in (float("nan"), float("-inf")):
            wrong = logits.clone()
            wrong[n - 1, 4] = bad
            yield selection(points, splits, wrong, 5, score)
            yield selection(points, splits, wrong, 5, score, rows=rows.clamp(max=9))
        for bad in (-1, n, 2**40):
            wrong = rows.clone()
            wrong[n // 3] = bad
            yield selection(points, splits, logits, 5, score, rows=wrong)
    for bad in (-1, 5, 254, 2**40):
        wrong = labels.clone()
        wrong[n // 2] = bad
        yield selection(points, splits, wrong, 5, "vcd")
    crowd = torch.zeros(60, 3)
    short = selection(crowd, torch.tensor([0, 60]), logits[:60], 5, "vcd")
    yield {n: v for n, v in short.items() if not n.startswith("=")} | {
        "table": score_table(60)[:60],
        "bad": 1,
    }


def selection(
    points: Tensor,
    splits: Tensor,
    prediction: Tensor,
    classes: int,
    score: str,
    *,
    rows: Tensor | None = None,
    k: int = 7,
    reduce: int = 1,
) -> Case:
    """Some cells were asked about, some of them twice and some that hold no point."""
    n, b = len(points), len(splits) - 1
    asked = (points[::5, :3] / 0.25).nan_to_num(0, 0, 0).clamp(-9e8, 9e8).floor().int()
    bounds = torch.searchsorted(torch.arange(0, n, 5), splits)
    asked[::3] -= 1000
    rows = torch.zeros(0, dtype=torch.int64) if rows is None else rows
    seeds, table = torch.arange(b) * 7 - 5, score_table(n)
    args = (points, splits, 0.25, prediction, rows, classes, score, ("max", "mean")[reduce], table)
    args = (*args, asked, bounds, seeds, k, 2, 50.0, True)
    return {
        "operation": "select",
        **{"points": points, "stride": points.shape[1], "splits": splits, "size": 0.25},
        **predicted(prediction, classes),
        **{"row_of_point": rows, "score": SCORES.index(score), "mean": reduce, "table": table},
        **{"asked_cells": asked, "asked_splits": bounds, "seeds": seeds},
        **{"k": k, "min_points": 2, "max_range": 50.0},
        **answer(SELECTED, reference.select, SelectionRequest(*args)),
    }


def neighbours() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    for stride in (1, 2):
        for lengths in (*LENGTHS[1:], MANY):
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


def refused_neighbours() -> Iterator[Case]:
    points, splits = batch(MANY, "dense", 0)
    cells, scan, *_, bounds = reference.voxelize(points, 1.0, splits)
    twice = cells.clone()
    twice[-1] = twice[-2]
    far = points.clone()
    far[-1, 2] = float("nan")
    for p, c in ((points, twice), (far, cells)):
        yield {
            "operation": "interpolation",
            **{"point_points": p, "point_stride": 4, "point_splits": splits},
            **{"cells": c, "splits": bounds, "stride": 1},
            **answer(("index", "weight"), reference.interpolation, p, splits, c, bounds, 1),
        }
    for bad in (-2, 5, 2**40):
        index, weight = torch.zeros(9, 8, dtype=torch.int64), torch.rand(9, 8)
        index[8, 7] = bad
        yield {
            "operation": "devoxelize",
            **{"features": torch.ones(5, 2), "grad": torch.ones(9, 2), "wide": 0, "columns": 2},
            **{"index": index, "weight": weight, "voxels": 5, "rows": 9, "neighbours": 8},
            **answer(("out",), reference.devoxelize, torch.ones(5, 2), index, weight),
        }


def kernel_maps() -> Iterator[Case]:
    cube = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3).int()
    ends = torch.tensor([[-(2**31), 2**31 - 1, 0], [2**31 - 1, 0, 0], [0, 0, 0]]).int()
    for stride, offsets in ((1, cube), (2, cube[13:]), (3, torch.cat([cube * 5, ends]))):
        for lengths in (*LENGTHS, MANY):
            points, splits = batch(lengths, "dense", stride)
            points[::7] *= 2.0**20
            cells, _, _, _, _, bounds = reference.voxelize(points, 0.25, splits)
            coarse = reference.group_cells(cells // stride, bounds)
            yield kernel_map(cells, bounds, offsets, coarse[0], coarse[5], stride)
    yield kernel_map(ends, torch.tensor([0, 3]), ends, ends, torch.tensor([0, 3]), 2**20)
    twice = torch.cat([ends, ends[:1]])
    yield kernel_map(twice, torch.tensor([0, 4]), cube, ends, torch.tensor([0, 3]), 1)


def kernel_map(cells, splits, offsets, out_cells, out_splits, stride) -> Case:
    return {
        "operation": "kernel_map",
        **{"cells": cells, "splits": splits, "offsets": offsets},
        **{"out_cells": out_cells, "out_splits": out_splits, "stride": stride},
        **answer(
            ("out",), reference.kernel_map, cells, splits, offsets, out_cells, out_splits, stride
        ),
    }


def convolutions() -> Iterator[Case]:
    """Whole numbers, whose sums are exact: widths beside and beyond those of tiles, all that is
    fused, and blocks of output rows that are shared out."""
    generator = torch.Generator().manual_seed(0)
    cube = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3).int()
    widths = ((1, 1), (4, 7), (16, 32), (33, 17), (3, 70), (300, 2))
    for number, lengths in enumerate([*LENGTHS, MANY]):
        points, splits = batch(lengths, "dense", number)
        cells, _, _, _, _, bounds = reference.voxelize(points, 0.25, splits)
        pairs = reference.submanifold_pairs(cells, bounds, cube)
        yield rulebook(cells, bounds, cube)
        for wide, (depth, columns) in enumerate(widths):
            dtype = (torch.float32, torch.float64)[wide % 2]

            def whole(*shape, dtype=dtype):
                return torch.randint(-3, 4, shape, generator=generator).to(dtype)

            features, weight = whole(len(cells), depth), whole(columns, 27, depth)
            added = (whole(columns), whole(len(cells), columns), True) if wide > 3 else ()
            yield convolution(features, weight, pairs, whole(len(cells), columns), *added)
    yield rulebook(torch.zeros(2, 3, dtype=torch.int32), torch.tensor([0, 2]), cube)


def refused_convolutions() -> Iterator[Case]:
    pairs = (torch.tensor([0, 1, 2]).int(), torch.tensor([2, 0, 1]).int(), torch.tensor([0, 2, 3]))
    for part, place, bad in ((0, 1, 3), (0, 2, -1), (1, 0, 3), (1, 2, -5), (2, 1, 4), (2, 0, -1)):
        wrong = [t.clone() for t in pairs]
        wrong[part][place] = bad
        yield convolution(torch.ones(3, 2), torch.ones(4, 2, 2), tuple(wrong), torch.ones(3, 4))


def convolution(features, weight, pairs, grad, bias=None, residual=None, relu=False) -> Case:
    columns, offsets, depth = weight.shape
    args = (features, weight, *pairs, len(grad), False, False, bias, residual, relu)
    found = answer(("out",), reference.convolution, *args)
    if not found["bad"]:
        back = (features, grad, *pairs, offsets)
        found["=weight"] = reference.convolution_weight_gradient(*back) + 0.0  # no -0
    none = torch.zeros(0, dtype=features.dtype)
    return {
        "operation": "convolution",
        **{"features": features, "weight": weight, "grad": grad},
        **{"bias": none if bias is None else bias, "relu": int(relu)},
        **{"residual": none if residual is None else residual},
        **{"rows_in": pairs[0], "rows_out": pairs[1], "starts": pairs[2]},
        **{"inputs": len(features), "outputs": len(grad), "offsets": offsets},
        **{"depth": depth, "columns": columns, "wide": int(features.dtype == torch.float64)},
        **{"block_rows": reference.BLOCK_ROWS},
        **found,
    }


def norms() -> Iterator[Case]:
    """With this seed no sum before a ReLU is so close to 0 that rounding decides its gradient."""
    made = torch.Generator().manual_seed(0)
    sizes = ((2, 1, torch.float32), (257, 19, torch.float32), (1000, 40, torch.float64))
    for rows, channels, dtype in sizes:

        def some(*shape, dtype=dtype):
            return torch.randint(-8, 9, shape, generator=made).to(dtype) / 8

        for relu in (False, True):
            given = some(rows, channels), some(channels), some(channels)
            residual, gradient = some(rows, channels), some(rows, channels)
            out, mean, variance = reference.batch_norm(*given, residual, relu, 1e-5)
            back = reference.batch_norm_gradient(
                gradient, given[0], out, given[1], mean, variance, relu, 1e-5
            )
            names = ("=of_in", "=before", "=of_weight", "=of_bias")
            yield {
                "operation": "batch_norm",
                **{"rows": rows, "channels": channels, "relu": int(relu), "bad": 0},
                **{"in": given[0], "weight": given[1], "bias": given[2]},
                **{"residual": residual, "gradient": gradient, "=out": out},
                **{"wide": int(dtype == torch.float64)},
                **dict(zip(names, back, strict=True)),
            }


def losses() -> Iterator[Case]:
    """Probabilities in quarters and classes that occur as often as a power of two: exact."""
    generator = torch.Generator().manual_seed(0)
    for rows, classes in ((0, 3), (1, 1), (4, 2), (64, 4), (4096, 8)):
        probabilities = torch.randint(0, 5, (rows, classes), generator=generator) / 4
        for bad in (None, 2.0, float("nan")):
            given = probabilities.clone()
            if bad is not None and rows:
                given[rows // 2, 0] = bad
            target = torch.arange(rows) % classes
            loss, _ = reference.lovasz_softmax(given, target)
            found = {"bad": int(bad is not None and rows > 0), "=loss": loss[None]}
            yield (
                {"operation": "lovasz", "rows": rows, "classes": classes}
                | found
                | {
                    "probabilities": given,
                    "target": target,
                }
            )
    wrong = torch.tensor([0, 3, 1])
    yield {"operation": "lovasz", "rows": 3, "classes": 3, "bad": 1} | {
        "probabilities": torch.ones(3, 3),
        "target": wrong,
    }


def rulebook(cells, splits, offsets) -> Case:
    names, args = ("rows_in", "rows_out", "starts"), (cells, splits, offsets)
    return {
        "operation": "rulebook",
        **{"cells": cells, "splits": splits, "offsets": offsets},
        "block_rows": reference.BLOCK_ROWS,
        **answer(names, reference.submanifold_pairs, *args),
    }


FOLDERS = {
    "both": (
        *(groups, scores, selections, large_selections, refused_selections),
        *(neighbours, refused_neighbours),
    ),
    "cpu": (kernel_maps, convolutions, refused_convolutions, norms, losses),
}


def main(folder: Path) -> None:
    for name, parts in FOLDERS.items():
        (folder / name).mkdir()
        for part in parts:
            for number, case in enumerate(part()):
                write(folder / name / f"{part.__name__}_{number:03}.case", case)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
