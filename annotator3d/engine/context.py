"""The objects that the parts of one run share."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from annotator3d.active.oracle import Oracle
from annotator3d.data.batch import InputRule
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.engine.build import input_rule
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import Datasets
from annotator3d.engine.distributed import World
from annotator3d.engine.record import RunRecord
from annotator3d.engine.training.checkpoints import Checkpoints, Place
from annotator3d.engine.training.signals import StoppableReporter, StopSignal
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Ledger
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter


@dataclass(kw_only=True)
class RunContext:
    """One run, as one of its processes sees it.

    Attributes:
        ledger: open for writing, on rank 0 of an active run; else None.
        oracle: who answers; None if nothing is queried.
        resumed_at: the checkpoint that training continues from; None: it starts.
        reporter: shows progress to the user.
        stop: the signal that ends the run at the next step.
        prototypes: [C, D] mean features of the source's classes, where they are known.
    """

    config: RunConfig
    datasets: Datasets
    model: Segmentor
    record: RunRecord
    ledger: Ledger | None
    oracle: Oracle | None
    checkpoints: Checkpoints
    resumed_at: Place | None
    device: torch.device
    world: World
    reporter: Reporter
    stop: StopSignal
    prototypes: torch.Tensor | None = None

    @property
    def work_dir(self) -> WorkDir:
        return self.record.work_dir

    @property
    def pool(self) -> ScanDataset | None:
        """The target's training scans, which may be queried."""
        return self.datasets.pool

    @property
    def rule(self) -> InputRule:
        """How a scan becomes the input of the network."""
        return input_rule(self.config, self.datasets.taxonomy.num_classes)

    @property
    def stoppable_reporter(self) -> Reporter:
        """For long work that a resumed run repeats: `progress` raises RunStoppedError once a signal
        has come."""
        return StoppableReporter(self.reporter, self.stop)
