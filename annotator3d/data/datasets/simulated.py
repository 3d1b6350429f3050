"""Simulated streets as a dataset that makes itself: no download, no registration."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.account import cache_folder
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.simulator.domains import get_domain
from annotator3d.data.simulator.sensor import beam_elevations, rings_of
from annotator3d.data.simulator.sequence import simulate
from annotator3d.registry import DATASETS


@DATASETS.register_module()
class SimulatedStreets(SemanticKITTI):
    """Scans of the street simulator, in SemanticKITTI's layout and classes.

    Args:
        domain: ``ideal`` or ``hdl64`` (docs/simulator.md).
        sequences: number of sequences; each is a world of its own.
        scans: scans of each sequence.
        seed: of the worlds.
        first_sequence: number of the first one: other numbers are other worlds.
        beams, azimuths: resolution of the sensor.
        root: where to keep the scans; default: a folder in the cache.
        labels, intensity, taxonomy: as in `SemanticKITTI`.
        progress: called with (task, done, total) while scans are made.

    Raises:
        ValueError: a parameter is out of range, or `root` holds something else.
    """

    makes_itself = True

    def __init__(
        self,
        domain: str,
        sequences: int,
        scans: int,
        seed: int = 0,
        first_sequence: int = 0,
        beams: int = 64,
        azimuths: int = 1024,
        root: str | os.PathLike[str] | None = None,
        labels: str = "required",
        intensity: str = "unit",
        progress: Callable[[str, int, int], None] | None = None,
        taxonomy: str | os.PathLike[str] | None = None,
    ) -> None:
        name = f"{domain}-{beams}x{azimuths}-seed{seed}-{first_sequence}+{sequences}x{scans}"
        root = Path(root) if root is not None else cache_folder() / "simulated" / name
        simulate(
            root,
            domain,
            sequences,
            scans,
            seed,
            beams=beams,
            azimuths=azimuths,
            first_sequence=first_sequence,
            progress=progress
            and (lambda done, total: progress(f"simulating {domain}", done, total)),
        )
        self._elevations = beam_elevations(get_domain(domain).sensor, beams)
        names = [f"{first_sequence + i:02d}" for i in range(sequences)]
        super().__init__(root, names, taxonomy, labels=labels, intensity=intensity)

    def read_ring(self, i: int, xyz: NDArray[np.float32]) -> NDArray[np.float32]:
        return rings_of(xyz, self._elevations)
