"""Labels of a run for other tools: what was answered, or what its network predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from annotator3d.data.batch import answer_labels
from annotator3d.data.checking.gate import vet
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.sequences import SEMANTICKITTI_TEST
from annotator3d.data.exporting.archive import write_archive
from annotator3d.data.exporting.writers import WRITERS, Labels, Writer
from annotator3d.data.files import fingerprint, make_folder
from annotator3d.data.formats.kitti import split_label
from annotator3d.data.scan import IGNORE, VoxelLabels
from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.prediction import predict_raw
from annotator3d.engine.training.checkpoint_file import read_checkpoint
from annotator3d.engine.training.checkpoints import newest_whole
from annotator3d.engine.training.identity import weights_for
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError, count
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter

_SHOWN = 3


@dataclass(frozen=True)
class ExportRequest:
    """What to export; see `annotator3d export --help`."""

    what: str
    format: str
    split: str | None = None  # None: all scans of the run; with `zip` those of data.val
    checkpoint: Path | None = None
    data_root: str | None = None
    force: bool = False
    zip: bool = False
    description: Path | None = None


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    files: int
    scans: int  # of the datasets
    labelled: int  # points with a class
    points: int  # of the scans written
    source: str  # the ledger or the checkpoint
    archive: Path | None = None
    files_of: dict[str, int] = field(default_factory=dict)  # split -> files


@dataclass(frozen=True)
class _Part:
    """The scans of one dataset of the run that are written."""

    split: str
    dataset: ScanDataset
    writer: Writer
    counts: dict[int, int]  # row of the dataset -> points with a class, as far as is known before
    labels_of: Callable[[int], np.ndarray]  # train ids of a row
    scans: int  # of the dataset, without those of an earlier part

    @property
    def paths(self) -> dict[Path, Path]:
        """File that is written -> file of its scan."""
        return {self.writer.path(i): self.dataset.path(i) for i in sorted(self.counts)}


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
    make = _answers if request.what == "answers" else _predictions
    parts, source = make(config, work_dir, out, request, reporter)
    for part in parts:
        _protect_input(part.writer, sorted(part.counts))
    if not request.force:
        _refuse_loss(parts)
    files, labelled, points = sum(len(part.counts) for part in parts), 0, 0
    done = 0
    for part in parts:
        for i, labels in _labels(part):
            make_folder(part.writer.path(i).parent)
            part.writer.write(i, labels)
            labelled += int((labels.train != IGNORE).sum())
            points += len(labels.train)
            reporter.progress("exporting", done := done + 1, files)
        part.writer.finish(sorted(part.counts))
        for words, paths in part.writer.notes.items():
            count = f"{len(paths):,} file{'s' * (len(paths) != 1)}"
            reporter.info(f"{count}, {'the first ' * (len(paths) > 1)}{paths[0]}: {words}")
    archive = _pack(out, parts, request, reporter) if request.zip else None
    scans = sum(part.scans for part in parts)
    files_of = {part.split: len(part.counts) for part in parts}
    return ExportResult(files, scans, labelled, points, source, archive, files_of)


def _pack(out: Path, parts: list[_Part], request: ExportRequest, reporter: Reporter) -> Path:
    archive = Path(f"{out.resolve()}.zip")
    write_archive(
        archive, out, [path for part in parts for path in part.paths], request.description
    )
    held = {id_.split("/")[0] for part in parts for id_ in part.dataset.ids}
    if held != set(SEMANTICKITTI_TEST):
        names = ", ".join(sorted(held))
        reporter.info(f"the test server expects sequences 11 to 21, this dataset has {names}")
    return archive


def _check(request: ExportRequest) -> None:
    if request.zip and (request.format, request.what) != ("semantickitti", "predictions"):
        raise ConfigError(
            "--zip is for SemanticKITTI's test server: --what predictions --format semantickitti"
        )
    if request.description is not None and not request.zip:
        raise ConfigError("--description goes into the archive: pass --zip too")
    if request.what == "answers" and request.split not in (None, "all", "train"):
        raise ConfigError("--split is for --what predictions; answers are about data.train")
    if request.checkpoint is not None and request.what == "answers":
        raise ConfigError("--checkpoint is for --what predictions; answers are in the ledger")


def _answers(
    config: RunConfig, work_dir: WorkDir, out: Path, request: ExportRequest, reporter: Reporter
) -> tuple[list[_Part], str]:
    """The scans that were asked about, and the ledger. Files are named by where scans are now."""
    root = request.data_root or work_dir.data_root("train")
    dataset, moved = work_dir.pool(config, root, reporter)
    if not dataset.makes_itself:
        vet(dataset, "data.train", config.data.quarantine, reporter.info)
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
        path = dataset.path(i)
        if change := records[rows[i]].change(None, fingerprint(path), str(path)):
            raise ValueError(change)
        return _raw_labels(dataset, i, found[rows[i]], size)

    counts = {
        i: sum(int((a.labels != IGNORE).sum()) for a in found[id_]) for i, id_ in rows.items()
    }
    writer = WRITERS[request.format](dataset, out, predicted=False)
    return [_Part("train", dataset, writer, counts, read, len(dataset))], str(path)


def _raw_labels(
    dataset: ScanDataset, i: int, answers: list[VoxelLabels], size: float
) -> np.ndarray:
    """Train ids of every raw point: those of the answered voxels, 255 elsewhere."""
    scan = dataset.read(i, labels=False)
    train = np.full(scan.num_raw, IGNORE, np.uint8)
    train[scan.rows] = answer_labels(scan, answers, size)
    return train


def _predictions(
    config: RunConfig, work_dir: WorkDir, out: Path, request: ExportRequest, reporter: Reporter
) -> tuple[list[_Part], str]:
    """The scans of each split, and the checkpoint; a scan of two splits is written once."""
    path = request.checkpoint or newest_whole(work_dir.checkpoints)
    content, model, parts = read_checkpoint(path), None, []
    for split in _splits(config, request):
        root = request.data_root or work_dir.data_root(split)
        dataset = open_dataset(config, split, root, reporter, needs_labels=False)
        if model is None:
            weights = weights_for(content, config, dataset.taxonomy.names, path)
            model = load_model(config, dataset.taxonomy.num_classes, weights, path)
        before = {scan for part in parts for scan in part.paths.values()}
        counts = {
            i: dataset.num_points(i) for i in range(len(dataset)) if dataset.path(i) not in before
        }
        writer = WRITERS[request.format](dataset, out, predicted=True)
        predict = _predictor(config, model, dataset)
        parts.append(_Part(split, dataset, writer, counts, predict, len(counts)))
    _refuse_twins(parts)
    return parts, str(path)


def _splits(config: RunConfig, request: ExportRequest) -> list[str]:
    """The datasets whose scans are predicted."""
    if request.zip and request.split is None:
        return ["val"]
    if request.split not in (None, "all"):
        return [request.split]
    names = ["val"] if config.setting == "source_only" else ["train", "val"]
    return [name for name in names if getattr(config.data, name) is not None]


def _predictor(
    config: RunConfig, model: Segmentor, dataset: ScanDataset
) -> Callable[[int], np.ndarray]:
    rule = input_rule(config, dataset.taxonomy.num_classes)
    return lambda i: predict_raw(model, dataset.read(i, labels=False), rule)


def _refuse_twins(parts: list[_Part]) -> None:
    """Raise ValueError where scans of two splits would be written to one file."""
    written: dict[Path, Path] = {}
    for part in parts:
        for path, scan in part.paths.items():
            if path in written:
                raise ValueError(
                    f"{written[path]} and {scan} would both be written to {path}; export one after "
                    "the other, with --split train and --split val, to two folders"
                )
            written[path] = scan


def _labels(part: _Part) -> Iterator[tuple[int, Labels]]:
    dataset = part.dataset
    for i in sorted(part.counts):
        train, instances = part.labels_of(i), None
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


def _refuse_loss(parts: list[_Part]) -> None:
    """Raise ValueError if a file that is there holds more labels, or is no label file at all."""
    losses = [loss for part in parts for i in sorted(part.counts) if (loss := _loss(part, i))]
    if losses:
        more = f"; and {len(losses) - _SHOWN} more" if len(losses) > _SHOWN else ""
        raise ValueError(
            f"{count(len(losses), 'file')} would lose labels: "
            f"{'; '.join(losses[:_SHOWN])}{more}. Choose "
            "another OUT, or pass --force"
        )


def _loss(part: _Part, i: int) -> str:
    """What would be lost if the file of a row were replaced, in words."""
    writer, count = part.writer, part.counts[i]
    path = writer.path(i)
    if not path.is_file():
        return ""
    try:
        before = int((writer.read(path) != writer.void).sum())
    except ValueError as error:
        return f"{path} is not replaced: {error}"
    if before > count:
        return f"{path} has {before:,} labelled points, the new one {count:,}"
    return ""
