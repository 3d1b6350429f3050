"""Importing a folder of scans: from the files of other tools to a dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from annotator3d.data.files import in_utf8
from annotator3d.data.formats.registry import require
from annotator3d.data.importing.card import write_card
from annotator3d.data.importing.convert import Converted, convert, output_paths
from annotator3d.data.importing.intensities import Scales, check_names, settle_scales
from annotator3d.data.importing.journal import Journal
from annotator3d.data.importing.judging import (
    any_class,
    check_fields,
    check_ids,
    check_places,
)
from annotator3d.data.importing.notices import gather
from annotator3d.data.importing.offsets import settle
from annotator3d.data.importing.poses import (
    SequencePoses,
    find_poses,
    pose_notices,
    write_sequence_poses,
)
from annotator3d.data.importing.rules import NONE, Rules, UnclearError
from annotator3d.data.importing.running import convert_all
from annotator3d.data.importing.sources import Source, Sources, find_sources
from annotator3d.data.importing.splits import Split, check_sequences, split_scans, write_splits
from annotator3d.data.importing.unused import (
    grouped_files,
    labels_beside,
    unused_fields,
    unused_files,
    without_labels,
)
from annotator3d.data.taxonomy import load_taxonomy, taxonomy_path
from annotator3d.errors import ConfigError, count, some


@dataclass(frozen=True)
class Imported:
    """A finished import."""

    out: Path
    scans: list[Converted]
    labelled: bool
    intensity_max: dict[str, float]  # sequence -> the intensity that becomes 1
    split: Split
    posed: list[str] = field(default_factory=list)  # sequences with poses
    notices: list[str] = field(default_factory=list)  # what was left out, guessed or changed


@dataclass(frozen=True)
class Wishes:
    """Options that concern the dataset as a whole; see `import_scans`."""

    val: Sequence[str] | None = None
    val_share: float = 0.2
    seed: int = 0
    intensity_max: Scales | None = None
    labels: Path | None = None
    poses: Path | str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share < 1:
            raise ConfigError(
                f"--val-share: expected at least 0 (none) and below 1, got {self.val_share}"
            )
        if isinstance(self.intensity_max, (int, float)) and not self.intensity_max > 0:
            raise ConfigError(f"--intensity-max: expected more than 0, got {self.intensity_max}")


def import_scans(
    src: Path,
    out: Path,
    rules: Rules,
    taxonomy_file: Path,
    wishes: Wishes | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Imported:
    """Write the scans below `src` into `out` in the layout that `ImportedScans` reads.

    An import that was stopped, or found damaged files, continues when it is called again; only
    ``dataset.yaml``, written last, makes the folder a dataset.

    Args:
        taxonomy_file: its copy becomes ``taxonomy.yaml``.
        wishes: val, val_share, seed: see `split_scans`. intensity_max: the intensity that becomes
            1, or those of sequences; else the first of `SCALES` that a sequence fits. labels,
            poses: where these files are; poses may be 'none'.
        workers: processes; a script that asks for several must guard its main part.

    Raises:
        ValueError, FileNotFoundError: something is wrong with the files; the message names them.
        ConfigError: an option makes no sense.
    """
    wishes = wishes or Wishes()
    rules = replace(rules, labels_given=wishes.labels is not None)
    require(rules.format)
    taxonomy = load_taxonomy(taxonomy_file)
    found, poses = _find(src, out, rules, wishes)
    sources = found.scans
    journal = Journal(out, rules.digest())

    def again(source: Source, other: Rules) -> Converted:
        journal.add(scan := convert(source, src, out, other))
        return scan

    try:
        scans = convert_all(sources, src, out, rules, journal, progress, workers)
        scans = settle(sources, scans, rules, again)
        check_fields(scans)
        check_places(scans, taxonomy)
        check_ids(scans, taxonomy)
    except UnclearError:
        journal.ask()
        raise
    labelled = any_class(scans, taxonomy)
    if not labelled:
        scans = [_unlabelled(scan, out) for scan in scans]
    split = split_scans(scans, wishes.val, wishes.val_share, wishes.seed)
    _remove_others(out, scans)
    posed = [name for name in _sequences(sources) if _write_poses(out, name, poses, scans)]
    scales = settle_scales(scans, wishes.intensity_max)
    write_splits(out, split)
    classes = in_utf8(taxonomy_path(taxonomy_file).read_bytes())
    notices = [
        *gather(scans),
        *pose_notices(poses),
        *unused_fields(scans),
        *(without_labels(scans) if labelled else labels_beside(src, sources)),
        *unused_files(src, found, labelled),
        *found.notices,
    ]
    write_card(out, scans, classes, split.words, scales, src, rules, notices)
    journal.finish()
    return Imported(out, scans, labelled, scales, split, posed, notices)


def _find(
    src: Path, out: Path, rules: Rules, wishes: Wishes
) -> tuple[Sources, dict[str, SequencePoses]]:
    """The scans and the poses of each sequence; everything that can be refused before any work."""
    if wishes.labels is not None and (rules.label_field is not None or rules.label_colors):
        raise ConfigError("give either --labels or --label-field (or --label-colors), not both")
    if out.resolve().is_relative_to(src.resolve()):
        raise ValueError(f"OUT must be outside of SRC, but {out} is inside {src}")
    given = Path(wishes.poses) if wishes.poses not in (None, NONE) else None
    in_files = rules.label_field is None and not rules.label_colors
    found = find_sources(src, rules.format, wishes.labels, given, in_files)
    sources = found.scans
    for format in sorted({source.format for source in sources}):
        require(format)
    check_sequences(wishes.val, _sequences(sources))
    check_names(wishes.intensity_max, _sequences(sources))
    if wishes.labels is not None and all(source.labels is None for source in sources):
        first = sources[0]
        held = some([*chain.from_iterable(grouped_files(wishes.labels, sources))])
        raise FileNotFoundError(
            f"--labels {wishes.labels} holds no label files for these scans: expected, for "
            f"example, {first.sequence}/{first.path.stem}.label or .npy, but it holds {held}"
        )
    poses = {} if wishes.poses == NONE else _poses(sources, given)
    return found, poses


def _poses(sources: Sequence[Source], given: Path | None) -> dict[str, SequencePoses]:
    names = _sequences(sources)
    if given is not None and not given.exists():
        raise FileNotFoundError(f"--poses {given}: there is no such file or folder")
    if given is not None and given.is_file() and len(names) > 1:
        raise ValueError(
            f"--poses {given} is one file, but there are {count(len(names), 'sequence')}; "
            "pass the folder "
            "that holds SEQUENCE.txt for each, or --poses none"
        )
    found = {n: find_poses([s for s in sources if s.sequence == n], given) for n in names}
    if given is not None and not any(poses.by_frame for poses in found.values()):
        raise FileNotFoundError(
            f"--poses {given} holds no poses for these scans: expected {names[0]}.txt with a row "
            f"for each scan, or {names[0]}/{sources[0].path.stem}.txt; or pass --poses none"
        )
    return found


def _write_poses(
    out: Path, name: str, poses: dict[str, SequencePoses], scans: list[Converted]
) -> bool:
    offsets = {
        int(s.id.split("/")[1]): tuple(s.offset)
        for s in scans
        if s.offset is not None and s.id.split("/")[0] == name
    }
    return write_sequence_poses(out / "sequences" / name, poses.get(name, SequencePoses()), offsets)


def _sequences(sources: Sequence[Source]) -> list[str]:
    return list(dict.fromkeys(source.sequence for source in sources))


def _unlabelled(scan: Converted, out: Path) -> Converted:
    output_paths(out, scan.id)[1].unlink(missing_ok=True)
    return Converted(**{**vars(scan), "classes": None, "label": None})


def _remove_others(out: Path, scans: Sequence[Converted]) -> None:
    """Files of an earlier attempt whose source is no longer there, and folders without files."""
    wanted = {path for scan in scans for path in output_paths(out, scan.id)}
    for path in sorted((out / "sequences").glob("*/*/*")):
        if path not in wanted:
            path.unlink()
    for folder in sorted((out / "sequences").glob("*/*")):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for folder in sorted((out / "sequences").iterdir()):
        if not (folder / "velodyne").is_dir():
            shutil.rmtree(folder)
