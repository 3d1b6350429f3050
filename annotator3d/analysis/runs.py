"""Read what a finished run left in its work directory: run.json and metrics.jsonl."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.data.plain_json import parse_json
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import in_yaml, kind_in_words

SETTINGS = ("al", "asfda", "ada", "source_only", "target_only")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the test scans.

    `voxels`, `points`, `answered`, `labelled_points` and `void_queries` count, cumulatively, the
    rounds that the network had been trained on at that epoch.
    """

    epoch: int
    round: int  # 0: no answer was used
    final: bool
    miou: float  # percent, over the classes that occur in the ground truth
    iou_per_class: dict[str, float | None]  # percent; None: absent from the ground truth
    confusion: np.ndarray  # [C, C+1] int64; row: ground truth, column: predicted, last: none
    voxels: int
    points: int
    labelled_points: int  # points whose answer is a class (not "ignore")
    void_queries: int  # queries that gave no labelled point
    answered: int | None = None  # of `voxels`; None: the version that wrote it did not say


@dataclass(frozen=True)
class Run:
    """A run. `evaluations` ascends in epoch; of a finished one, the last is the final one."""

    work_dir: Path
    setting: str
    strategy: str
    seed: int
    classes: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    run_info: dict[str, Any]  # run.json as it is

    @property
    def final(self) -> Evaluation:
        return self.evaluations[-1]


def read_run(work_dir: str | Path, finished: bool = True) -> Run:
    """Read the run in `work_dir`.

    A resumed run evaluates some epochs twice; the last line of an epoch counts.

    Args:
        finished: refuse one that is not; else it may have no evaluation yet.

    Raises:
        FileNotFoundError: run.json or, of a finished run, metrics.jsonl is missing.
        ValueError: the run is not finished, or a file is corrupt (file and line are named).
    """
    work_dir = Path(work_dir)
    folder = WorkDir(work_dir)
    info_path, metrics_path = folder.run_info_path, folder.metrics_path
    run_info = _parse(_text(info_path), str(info_path))
    state = _get(run_info, "state", str, info_path)
    if finished and state != "done":
        raise ValueError(
            f"{info_path}: the run is not finished (state {state!r}); start its command again to "
            "complete it"
        )
    setting = _get(run_info, "setting", str, info_path)
    if setting not in SETTINGS:
        raise ValueError(f"{info_path}: setting must be one of {SETTINGS}, got {in_yaml(setting)}")
    classes = _class_names(run_info, info_path)
    by_epoch: dict[int, Evaluation] = {}
    lines = _text(metrics_path) if finished or metrics_path.exists() else ""
    for number, line in enumerate(lines.splitlines(), start=1):
        if line.strip():
            where = f"{metrics_path}, line {number}"
            evaluation = _evaluation(_parse(line, where), classes, where)
            by_epoch[evaluation.epoch] = evaluation
    evaluations = tuple(by_epoch[epoch] for epoch in sorted(by_epoch))
    if finished and not (evaluations and evaluations[-1].final):
        raise ValueError(
            f"{metrics_path}: the run is not finished: expected a last evaluation marked final, "
            f"found {len(evaluations)} evaluations, none of them final at the end"
        )
    return Run(
        work_dir=work_dir,
        setting=setting,
        strategy=str(run_info.get("strategy") or "none"),
        seed=_count(run_info, "seed", info_path),
        classes=classes,
        evaluations=evaluations,
        run_info=run_info,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such file; expected the work directory of a run"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: corrupt, not UTF-8 text ({error.reason})") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        record = parse_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: corrupt, not valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"{where}: expected a JSON object, got {kind_in_words(record)}")
    return record


def _get(record: dict[str, Any], key: str, kind: type, where: object) -> Any:
    value = record.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: {key!r} must be {kind_in_words(kind())}, got {in_yaml(value)}")
    return value


def _count(record: dict[str, Any], key: str, where: object) -> int:
    value = _get(record, key, int, where)
    if value < 0:
        raise ValueError(f"{where}: {key!r} must not be negative, got {value}")
    return value


def _percent(value: object, name: str, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 100:
        raise ValueError(f"{where}: {name} must be a percentage in 0..100, got {in_yaml(value)}")
    return float(value)


def _class_names(run_info: dict[str, Any], where: Path) -> tuple[str, ...]:
    names = _get(run_info, "classes", list, where)
    if not names or any(not isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise ValueError(f"{where}: 'classes' must list distinct class names, got {in_yaml(names)}")
    return tuple(names)


def _evaluation(record: dict[str, Any], classes: tuple[str, ...], where: str) -> Evaluation:
    iou = _get(record, "iou_per_class", dict, where)
    if set(iou) != set(classes):
        odd = sorted(set(iou) ^ set(classes))
        raise ValueError(f"{where}: 'iou_per_class' and the classes of run.json differ in {odd}")
    return Evaluation(
        epoch=_count(record, "epoch", where),
        round=_count(record, "round", where),
        final=_get(record, "final", bool, where),
        miou=_percent(record.get("miou"), "'miou'", where),
        iou_per_class={
            name: None if iou[name] is None else _percent(iou[name], f"IoU of {name!r}", where)
            for name in classes
        },
        confusion=_confusion(record.get("confusion"), len(classes), where),
        voxels=_count(record, "voxels", where),
        points=_count(record, "points", where),
        labelled_points=_count(record, "labelled_points", where),
        void_queries=_count(record, "void_queries", where),
        answered=_count(record, "answered", where) if "answered" in record else None,
    )


def _confusion(value: object, num_classes: int, where: str) -> np.ndarray:
    try:
        matrix = np.array(value)
    except ValueError:  # ragged rows
        matrix = np.empty(0)
    shape = (num_classes, num_classes + 1)
    if matrix.shape != shape or matrix.dtype.kind != "i" or matrix.min() < 0:
        raise ValueError(f"{where}: 'confusion' must be {shape} integers >= 0 (rows: ground truth)")
    return matrix.astype(np.int64)
