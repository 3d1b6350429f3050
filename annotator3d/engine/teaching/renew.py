"""Make what the scans of a pool are taught, scan after scan; keep it, renew what changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.agreement import AgreementRule
from annotator3d.active.propagation.audit import Audit
from annotator3d.active.propagation.lesson import lesson
from annotator3d.active.propagation.places import inverse_of, to_world
from annotator3d.active.propagation.surface import SurfaceRule
from annotator3d.active.propagation.teaching import TeachingRule, Witness
from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.data.files import make_folder
from annotator3d.data.taught_labels import (
    TaughtFile,
    is_current,
    read_taught,
    taught_file,
    write_taught,
)
from annotator3d.engine.config.schema import RunConfig, TrainingConfig
from annotator3d.engine.distributed import ALONE, World
from annotator3d.engine.teaching.agreement import Agreement, Ballots
from annotator3d.engine.teaching.audit import PoseFit, Teachings
from annotator3d.engine.teaching.classes import taught_classes
from annotator3d.engine.teaching.keys import Keys
from annotator3d.engine.teaching.posed_scans import PosedScans
from annotator3d.engine.teaching.reading import Answers, Reading
from annotator3d.engine.workdir import WorkDir

_FIT_POINTS, _FIT_METRES, _FIT_BEHIND = 4000, 30.0, 1.0  # of a scan, for `PoseFit`


class Teaching:
    """The levers `propagate`, `surface` and `agreement` of a run.

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
        self._by_answers = reach is not None or surface is not None
        if reach is not None:
            classes = taught_classes(pool.taxonomy, reach.classes, "training.propagate")
            self._rule = TeachingRule(reach.cell, reach.occlusion, classes)
            self.places = PosedScans(pool, reach.scans, reach.metres, "training.propagate")
        if surface is not None:
            self._surface = SurfaceRule(surface.metres, surface.degrees)
        agreement = training.agreement
        self._agreement = None if agreement is None else Agreement(pool, agreement)
        parts = (reach, surface, agreement)  # by `Kind`
        self._weights = tuple(0.0 if part is None else part.weight for part in parts)
        self._settings = repr(
            [
                None if part is None else {**dataclasses.asdict(part), "weight": None}
                for part in parts
            ]
            + [query_size, pool.taxonomy.digest(), _classes(self._rule)]
            + [_classes(self._agreement and self._agreement.rule)]
        )

    def renew(
        self,
        answers: Answers,
        to_current: Mapping[int, bytes] | None = None,
        progress: Callable[[int, int], None] | None = None,
        world: World = ALONE,
        round: int = 0,
    ) -> Teachings:
        """Make the labels that these answers and the predictions of the newest round teach, of all
        scans for which they are not there.

        Each process of `world` makes those of a part of the scans, and any that it cannot read
        from the others.

        Args:
            answers: scan id -> what was answered about its voxels.
            to_current: `Ledger.to_current`.
            round: the newest one, whose predictions teach.
        """
        world.on_all_ranks(lambda: make_folder(self.folder))
        agreeing = None if self._agreement is None else self._agreement.places
        keys = Keys(self.pool, self._settings, self.places, answers, self._rounds, agreeing, round)
        predictions = StoredPredictions(self._rounds, to_current)
        reading = Reading(self.pool, answers, self._size, predictions)
        ballots = None
        if self._agreement is not None:
            ballots = Ballots(self._agreement, self.pool, reading, self._rounds, round)
            ballots.check_same(world)
        work = _Work(self, keys, reading, ballots)
        share = np.array_split(np.arange(len(self.pool)), world.size)[world.rank].tolist()
        world.on_all_ranks(lambda: work.make(share, progress))
        return world.on_all_ranks(lambda: work.collect())


def open_teaching(config: RunConfig, pool, work_dir: WorkDir) -> Teaching | None:
    """What makes more of the answers of a run; None where its config asks for nothing of the kind.

    Raises ConfigError as `Teaching`.
    """
    training = config.training
    if not {"propagate", "surface", "agreement"} & set(training.levers()):
        return None
    size = config.active.voxel_size
    return Teaching(pool, training, work_dir.taught, work_dir.rounds, size)


class _Work:
    """One renewal."""

    def __init__(
        self, teaching: Teaching, keys: Keys, reading: Reading, ballots: Ballots | None
    ) -> None:
        self._teaching, self._keys = teaching, keys
        self._reading, self._ballots = reading, ballots
        self._pool, self._places = teaching.pool, teaching.places
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
        teaching, by_predictions = self._teaching, self._ballots is not None
        return Teachings(
            files, audit, fits, self.made, teaching._by_answers, by_predictions, len(self._pool)
        )

    def _file(self, index: int) -> Path:
        return taught_file(self._teaching.folder, self._pool.ids[index])

    def _make(self, index: int, path: Path, key: str) -> None:
        teaching, reading = self._teaching, self._reading
        reach = self._places.within_reach(index) if self._places is not None else []
        teachers = [other for other in reach if reading.is_answered(other)]
        reading.forget(min([index, *reach]))
        surface = teaching._surface if reading.is_answered(index) else None
        found = lesson(
            reading.scan(index),
            reading.labels(index),
            reading.answered(index),
            self._witness(index) if teachers else None,
            [self._witness(other) for other in teachers],
            self._pool.taxonomy.num_classes,
            teaching._rule,
            surface,
            None if surface is None else self._predicted(index),
            None if self._ballots is None else self._ballots.agreed(index),
        )
        fits = self._fits(index, teachers, found.pairs)
        write_taught(path, key, found.taught, {**vars(found.audit), "fits": fits})
        self.made += 1

    def _witness(self, index: int) -> Witness:
        return self._reading.witness(index, self._places.poses[index])

    def _predicted(self, index: int) -> NDArray[np.uint8] | None:
        """The classes that the round predicted which asked about the scan last; None without."""
        last = max(voxel.round for voxel in self._reading.answers(index))
        return self._reading.predicted(index, last)

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
        xyz = self._reading.scan(index).xyz
        near = xyz[xyz[:, 0] ** 2 + xyz[:, 1] ** 2 < _FIT_METRES**2]
        some = near[:: max(len(near) // _FIT_POINTS, 1)]
        poses = self._places.poses
        there = to_world(to_world(some, poses[index]), inverse_of(poses[other]))
        return self._witness(other).sight.share_seen_through(there, _FIT_BEHIND)


def _classes(rule: TeachingRule | AgreementRule | None) -> list[int]:
    return [] if rule is None else np.flatnonzero(rule.classes).tolist()
