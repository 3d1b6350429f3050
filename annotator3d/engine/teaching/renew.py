"""Make what the answers teach the scans of a pool, scan after scan; keep it, renew what changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.audit import Audit
from annotator3d.active.propagation.lesson import lesson
from annotator3d.active.propagation.places import inverse_of, to_world
from annotator3d.active.propagation.sight import Sight
from annotator3d.active.propagation.surface import SurfaceRule
from annotator3d.active.propagation.teaching import TeachingRule, Witness
from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.data.batch import answer_labels, answered_points
from annotator3d.data.files import make_folder
from annotator3d.data.scan import IGNORE, Scan, VoxelLabels
from annotator3d.data.taught_labels import (
    TaughtFile,
    is_current,
    read_taught,
    taught_file,
    write_taught,
)
from annotator3d.engine.config.schema import RunConfig, TrainingConfig
from annotator3d.engine.distributed import ALONE, World
from annotator3d.engine.teaching.audit import PoseFit, Teachings
from annotator3d.engine.teaching.classes import taught_classes
from annotator3d.engine.teaching.keys import Keys
from annotator3d.engine.teaching.posed_scans import PosedScans
from annotator3d.engine.workdir import WorkDir

Answers = Mapping[str, Sequence[VoxelLabels]]

_KEPT = 24  # scans whose points are kept; one is read again where an answer reaches further
_FIT_POINTS, _FIT_METRES, _FIT_BEHIND = 4000, 30.0, 1.0  # of a scan, for `PoseFit`


class Teaching:
    """The levers `propagate` and `surface` of a run.

    Args:
        folder: gets a file for each scan.
        rounds: ``rounds/`` of the work directory, with its predictions.
        query_size: edge of the voxels that are asked about, metres.

    Raises:
        ConfigError: no scan has a pose, or it is not known which classes move.
    """

    def __init__(
        self, pool, training: TrainingConfig, folder: Path, rounds: Path, query_size: float
    ) -> None:
        self.pool, self.folder, self._rounds, self._size = pool, Path(folder), rounds, query_size
        reach, surface, self._rule, self._surface = training.propagate, training.surface, None, None
        self.places: PosedScans | None = None
        if reach is not None:
            classes = taught_classes(pool.taxonomy, reach.classes)
            self._rule = TeachingRule(reach.cell, reach.occlusion, classes)
            self.places = PosedScans(pool, reach.scans, reach.metres)
        if surface is not None:
            self._surface = SurfaceRule(surface.metres, surface.degrees)
        self._weights = tuple(0.0 if part is None else part.weight for part in (reach, surface))
        self._settings = repr(
            [
                None if part is None else {**dataclasses.asdict(part), "weight": None}
                for part in (reach, surface)
            ]
            + [query_size, pool.taxonomy.digest(), _classes(self._rule)]
        )

    def renew(
        self,
        answers: Answers,
        to_current: Mapping[int, bytes] | None = None,
        progress: Callable[[int, int], None] | None = None,
        world: World = ALONE,
    ) -> Teachings:
        """Make the labels that these answers teach, of all scans for which they are not there.

        Each process of `world` makes those of a part of the scans, and any that it cannot read
        from the others.

        Args:
            answers: scan id -> what was answered about its voxels.
            to_current: `Ledger.to_current`.
        """
        world.on_all_ranks(lambda: make_folder(self.folder))
        keys = Keys(self.pool, self._settings, self.places, answers, self._rounds)
        work = _Work(self, answers, keys, StoredPredictions(self._rounds, to_current))
        share = np.array_split(np.arange(len(self.pool)), world.size)[world.rank].tolist()
        world.on_all_ranks(lambda: work.make(share, progress))
        return world.on_all_ranks(lambda: work.collect())


def open_teaching(config: RunConfig, pool, work_dir: WorkDir) -> Teaching | None:
    """What makes more of the answers of a run; None where its config asks for nothing of the kind.

    Raises ConfigError as `Teaching`.
    """
    training = config.training
    if training.propagate is None and training.surface is None:
        return None
    size = config.active.voxel_size
    return Teaching(pool, training, work_dir.taught, work_dir.rounds, size)


class _Work:
    """One renewal: the scans that it has read, and those that it is about."""

    def __init__(
        self, teaching: Teaching, answers: Answers, keys: Keys, predictions: StoredPredictions
    ) -> None:
        self._teaching, self._answers, self._keys = teaching, answers, keys
        self._predictions = predictions
        self._pool, self._places = teaching.pool, teaching.places
        self._scans: dict[int, Scan] = {}
        self._witnesses: dict[int, Witness] = {}
        self._labelled: tuple[int, NDArray[np.uint8]] = -1, np.zeros(0, np.uint8)
        self.made = 0

    def make(self, share: Sequence[int], progress: Callable[[int, int], None] | None) -> None:
        for done, index in enumerate(share, start=1):
            path, key = self._file(index), self._keys.of(index)
            if not is_current(path, key):
                self._make(index, path, key)
            if progress:
                progress(done, len(share))

    def collect(self) -> Teachings:
        """Where the labels of all scans are, and how good they are; makes those that are missing
        here since another machine has made them."""
        files, fits, parts = {}, [], []
        for index, scan_id in enumerate(self._pool.ids):
            path, key = self._file(index), self._keys.of(index)
            arrays = read_taught(path, key)
            if arrays is None:
                self._make(index, path, key)
                arrays = read_taught(path, key)
            if len(arrays["rows"]):
                files[scan_id] = TaughtFile(path, key, self._teaching._weights)
            parts.append(Audit.of(arrays))
            fits += [PoseFit.of(row) for row in arrays["fits"]]
        audit = Audit.total(parts, self._pool.taxonomy.num_classes)
        return Teachings(files, audit, fits, self.made)

    def _file(self, index: int) -> Path:
        return taught_file(self._teaching.folder, self._pool.ids[index])

    def _make(self, index: int, path: Path, key: str) -> None:
        teaching, scan = self._teaching, self._scan(index)
        answers = self._labels(index, scan)
        reach = self._places.within_reach(index) if self._places is not None else []
        teachers = [other for other in reach if self._pool.ids[other] in self._answers]
        self._forget(min([index, *reach]))
        given = self._answers.get(scan.id, ())
        found = lesson(
            scan,
            answers,
            answered_points(scan, given, teaching._size),
            self._witness(index) if teachers else None,
            [self._witness(other) for other in teachers],
            self._pool.taxonomy.num_classes,
            teaching._rule,
            teaching._surface if len(given) else None,
            self._predicted(scan, given),
        )
        fits = self._fits(index, teachers, found.pairs)
        write_taught(path, key, found.taught, {**vars(found.audit), "fits": fits})
        self.made += 1

    def _scan(self, index: int) -> Scan:
        """A scan with its truth where there is one; the last few are kept."""
        if index not in self._scans:
            for old in list(self._scans)[:-_KEPT]:
                del self._scans[old]
            labels = self._pool.label_path(index).is_file()
            self._scans[index] = self._pool.read(index, labels=labels)
        return self._scans[index]

    def _labels(self, index: int, scan: Scan) -> NDArray[np.uint8]:
        """[N] the labels of its answers; kept for the last scan, which is asked for twice."""
        if self._labelled[0] != index:
            given = self._answers.get(scan.id, ())
            self._labelled = index, answer_labels(scan, given, self._teaching._size)
        return self._labelled[1]

    def _witness(self, index: int) -> Witness:
        if index not in self._witnesses:
            scan = self._scan(index)
            labels = self._labels(index, scan)
            rows = np.flatnonzero(labels != IGNORE)
            self._witnesses[index] = Witness(
                self._places.poses[index], scan.xyz[rows], labels[rows], Sight(scan.xyz)
            )
        return self._witnesses[index]

    def _forget(self, first: int) -> None:
        """Let go of the witnesses before `first`, which no later scan needs."""
        for index in [index for index in self._witnesses if index < first]:
            del self._witnesses[index]

    def _predicted(self, scan: Scan, given: Sequence[VoxelLabels]) -> NDArray[np.uint8] | None:
        """The classes that the round predicted which asked about the scan last; None without."""
        if self._teaching._surface is None or not len(given):
            return None
        found = self._predictions(max(voxel.round for voxel in given), scan)
        return None if found is None else found.classes

    def _fits(
        self, index: int, teachers: Sequence[int], pairs: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """`PoseFit` [k] of a scan with those that taught it and with the one before it."""
        rows = {
            teachers[k]: [index, teachers[k], judged, right, np.nan] for k, judged, right in pairs
        }
        before = None if self._places is None else self._places.before(index)
        if before is not None:
            fit = rows.setdefault(before, [index, before, 0, 0, np.nan])
            fit[4] = self._seen_through(index, before)
        return np.array(list(rows.values()), np.float64).reshape(-1, 5)

    def _seen_through(self, index: int, other: int) -> float:
        """The part of a scan's near points that another scan sees through."""
        xyz = self._scan(index).xyz
        near = xyz[xyz[:, 0] ** 2 + xyz[:, 1] ** 2 < _FIT_METRES**2]
        some = near[:: max(len(near) // _FIT_POINTS, 1)]
        poses = self._places.poses
        there = to_world(to_world(some, poses[index]), inverse_of(poses[other]))
        return self._witness(other).sight.share_seen_through(there, _FIT_BEHIND)


def _classes(rule: TeachingRule | None) -> list[int]:
    return [] if rule is None else np.flatnonzero(rule.classes).tolist()
