"""Labels of a run for other tools: what was answered, or what its network predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator3d.data.batch import answer_labels
from annotator3d.data.checking.gate import vet
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.sequences import SEMANTICKITTI_TEST
from annotator3d.data.exporting.archive import write_archive
from annotator3d.data.exporting.writers import WRITERS, Labels, Writer
from annotator3d.data.files import fingerprint
from annotator3d.data.formats.kitti import split_label
from annotator3d.data.scan import IGNORE, VoxelLabels
from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.prediction import predict_raw
from annotator3d.engine.training.checkpoint_file import read_weights
from annotator3d.engine.training.checkpoints import newest_whole
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.reporter import Reporter

_SHOWN = 3


@dataclass(frozen=True)
class ExportRequest:
    """What to export; see `annotator3d export --help`."""

    what: str
    format: str
    split: str = "val"
    checkpoint: Path | None = None
    data_root: str | None = None
    force: bool = False
    zip: bool = False
    description: Path | None = None


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    files: int
    scans: int  # of the dataset
    labelled: int  # points with a class
    points: int  # of the scans written
    source: str  # the ledger or the checkpoint
    archive: Path | None = None


def export(
    config: RunConfig, work_dir: WorkDir, out: Path, request: ExportRequest, reporter: Reporter
) -> ExportResult:
    """Write labels below `out`, in raw ids: of the class's entry in ``learning_map_inv``.

    Raises:
        ConfigError: the request makes no sense.
        ValueError, FileNotFoundError: no answers, no checkpoint; or a file that is there has more
            labelled points than the one that would replace it, and `force` is False. Nothing is
            written then.
    """
    _check(request)
    answers = request.what == "answers"
    split = "train" if answers else request.split
    root = request.data_root or work_dir.data_root(split)
    if answers:
        dataset, moved = _pool(config, work_dir, root, reporter)
        counts, labels_of, source = _answers(work_dir, dataset, moved)
    else:
        dataset = open_dataset(config, split, root, reporter, needs_labels=False)
        counts, labels_of, source = _predictions(config, work_dir, dataset, request)
    writer = WRITERS[request.format](dataset, out, predicted=not answers)
    rows = sorted(counts)
    _protect_input(writer, rows)
    if not request.force:
        _refuse_loss(writer, rows, counts)
    labelled = points = 0
    for done, (i, labels) in enumerate(_labels(dataset, rows, labels_of), 1):
        writer.path(i).parent.mkdir(parents=True, exist_ok=True)
        writer.write(i, labels)
        labelled += int((labels.train != IGNORE).sum())
        points += len(labels.train)
        reporter.progress("exporting", done, len(rows))
    writer.finish(rows)
    archive = None
    if request.zip:
        archive = Path(f"{out.resolve()}.zip")
        write_archive(archive, out, [writer.path(i) for i in rows], request.description)
        if (held := {id_.split("/")[0] for id_ in dataset.ids}) != set(SEMANTICKITTI_TEST):
            reporter.info(
                "the test server expects sequences 11 to 21, this dataset has "
                f"{', '.join(sorted(held))}"
            )
    return ExportResult(len(rows), len(dataset), labelled, points, source, archive)


def _check(request: ExportRequest) -> None:
    if request.zip and (request.format, request.what) != ("semantickitti", "predictions"):
        raise ConfigError(
            "--zip is for SemanticKITTI's test server: --what predictions --format semantickitti"
        )
    if request.description is not None and not request.zip:
        raise ConfigError("--description goes into the archive: pass --zip too")
    if request.checkpoint is not None and request.what == "answers":
        raise ConfigError("--checkpoint is for --what predictions; answers are in the ledger")


# For each row of the dataset that is written the points with a class, as far as is known before;
# what gives the train ids of a row; where they come from.
_Plan = tuple[dict[int, int], Callable[[int], np.ndarray], str]


def _pool(
    config: RunConfig, work_dir: WorkDir, root: str | None, reporter: Reporter
) -> tuple[ScanDataset, dict[str, str]]:
    """The scans that were asked about, and what those are called now that were moved since.

    Exported files are named by where the scans are now.
    """
    dataset, moved = work_dir.pool(config, root, reporter)
    if not dataset.makes_itself:
        vet(dataset, "data.train", config.data.quarantine, reporter.info)
    return dataset, moved


def _answers(work_dir: WorkDir, dataset: ScanDataset, moved: dict[str, str]) -> _Plan:
    path = work_dir.ledger_path
    with work_dir.ledger() as ledger:
        if ledger.taxonomy_digest != dataset.taxonomy.digest():
            raise ValueError(f"{path} is of other classes than {dataset.root}")
        found = ledger.labels_by_scan()
        records = {scan.id: scan for scan in ledger.scans()}
        size = ledger.voxel_size
    if not found:
        raise ValueError(f"{path} holds no answers yet")
    rows = {dataset.index(moved.get(scan_id, scan_id)): scan_id for scan_id in found}

    def read(i: int) -> np.ndarray:
        if fingerprint(dataset.path(i)) != records[rows[i]].fingerprint:
            raise ValueError(
                f"{dataset.path(i)} has changed since it was asked about; restore the file"
            )
        return _raw_labels(dataset, i, found[rows[i]], size)

    counts = {
        i: sum(int((a.labels != IGNORE).sum()) for a in found[id_]) for i, id_ in rows.items()
    }
    return counts, read, str(path)


def _raw_labels(
    dataset: ScanDataset, i: int, answers: list[VoxelLabels], size: float
) -> np.ndarray:
    """Train ids of every raw point: those of the answered voxels, 255 elsewhere."""
    scan = dataset.read(i, labels=False)
    train = np.full(scan.num_raw, IGNORE, np.uint8)
    train[scan.rows] = answer_labels(scan, answers, size)
    return train


def _predictions(
    config: RunConfig, work_dir: WorkDir, dataset: ScanDataset, request: ExportRequest
) -> _Plan:
    path = request.checkpoint or newest_whole(work_dir.checkpoints)
    count = dataset.taxonomy.num_classes
    model = load_model(config, count, read_weights(path), path)
    rule = input_rule(config, count)

    def predict(i: int) -> np.ndarray:
        return predict_raw(model, dataset.read(i, labels=False), rule)

    sizes = (dataset.num_points(i) for i in range(len(dataset)))
    return dict(enumerate(sizes)), predict, str(path)


def _labels(
    dataset: ScanDataset, rows: list[int], train_of: Callable[[int], np.ndarray]
) -> Iterator[tuple[int, Labels]]:
    for i in rows:
        train, instances = train_of(i), None
        if dataset.LABEL_BYTES == 4 and dataset.label_path(i).is_file():
            instances = split_label(dataset.read_raw_labels(i, len(train)))[1]
            instances = instances if instances.any() else None
        yield i, Labels(train, instances)


def _protect_input(writer: Writer, rows: list[int]) -> None:
    for i in rows:
        if writer.is_input(i):
            raise ValueError(
                f"{writer.path(i)} is a file that the dataset was made from; choose another OUT"
            )


def _refuse_loss(writer: Writer, rows: list[int], counts: dict[int, int]) -> None:
    """Raise ValueError if a file that is there holds more labels, or is no label file at all."""
    losses = []
    for i in rows:
        path = writer.path(i)
        if not path.is_file():
            continue
        try:
            before = int((writer.read(path) != writer.void).sum())
        except ValueError as error:
            losses.append(f"{path} is not replaced: {error}")
            continue
        if before > counts[i]:
            losses.append(f"{path} has {before:,} labelled points, the new one {counts[i]:,}")
    if losses:
        more = f"; and {len(losses) - _SHOWN} more" if len(losses) > _SHOWN else ""
        raise ValueError(
            f"{len(losses)} files would lose labels: {'; '.join(losses[:_SHOWN])}{more}. Choose "
            "another OUT, or pass --force"
        )
