"""Mixing without labels of the target: patches of the source in its scans, and the reverse.

Source: CoSMix (Saltori et al., ECCV 2022, arXiv 2207.09778).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotator3d._mmengine import Hook
from annotator3d.data.augment import augment
from annotator3d.data.batch import SampleRequest, TrainingScans, collate, make_sample
from annotator3d.data.mixing.patches import with_patches
from annotator3d.data.scan import Scan
from annotator3d.engine.training.teacher_hook import TeacherHook

SOURCE_CLASSES = 0.5  # of those of a scan are put into one of the target
TARGET_CLASSES = 1.0  # of those that the teacher labels are put into one of the source


@dataclass
class ScansToMix(TrainingScans):
    """Scans as recorded; those of the source (`answers` None) with their labels, others without."""

    def __getitem__(self, request: SampleRequest | int) -> dict:
        if not isinstance(request, SampleRequest):
            request = self.request(request)
        scan = self.base.read(request.index, labels=request.answers is None)
        sample = make_sample(scan, self.rule)
        return {**sample, "scan": scan, "labels": scan.labels}


class PatchMixHook(Hook):
    """Before each step: what the teacher labels in the target's scans goes into those of the
    source, and patches of the source go into those of the target; all are augmented then.

    What is drawn depends on seed, epoch and scan alone.
    """

    def __init__(self, target: ScansToMix, source: ScansToMix, teaching: TeacherHook) -> None:
        self.target, self.source, self.teaching = target, source, teaching

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        batch = runner.network.data_preprocessor(data_batch["batch"], False)
        labels = self.teaching.teacher.labels_of_points(batch).cpu().numpy().astype(np.uint8)
        parts = np.split(labels, np.cumsum(batch["num_points"].tolist())[:-1])
        targets = [
            replace(scan, labels=part) for scan, part in zip(batch["scans"], parts, strict=True)
        ]
        sources = data_batch["source"]["scans"]
        data_batch["batch"] = self._mixed(self.target, targets, sources, SOURCE_CLASSES)
        data_batch["source"] = self._mixed(self.source, sources, targets, TARGET_CLASSES)

    def _mixed(
        self, data: ScansToMix, scans: Sequence[Scan], others: Sequence[Scan], share: float
    ) -> dict:
        samples = []
        for number, scan in enumerate(scans):
            index, is_source = data.base.index(scan.id), int(data is self.source)
            random = np.random.default_rng([data.seed, data.epoch, index, is_source])
            mixed = with_patches(scan, others[number % len(others)], share, random)
            xyz = None
            if data.augmentation is not None:
                xyz = augment(mixed.xyz, data.seed, data.epoch, index, **data.augmentation)
            samples.append(make_sample(mixed, data.rule, mixed.labels, xyz))
        return collate(samples)
