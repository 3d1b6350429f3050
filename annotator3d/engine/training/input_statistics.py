"""Before a training from random weights: what a network must know of the scans it will see."""

from __future__ import annotations

from collections.abc import Iterator

from annotator3d.data.batch import RawScans
from annotator3d.engine.build import input_rule
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import Datasets
from annotator3d.engine.distributed import World
from annotator3d.models.segmentor import Segmentor

SCANS = 64  # are measured, evenly spaced


def measure_input(config: RunConfig, datasets: Datasets, model: Segmentor, world: World) -> None:
    """Set the buffers of a backbone that has ``measures_input``, the same on every process.

    They are ``input_statistics(samples)`` of it, over scans that are trained on, as recorded and
    without labels.
    """
    backbone = model.backbone
    if not getattr(backbone, "measures_input", False):
        return
    scans = datasets.source if config.setting == "source_only" else datasets.pool
    raw = RawScans(scans, input_rule(config, model.num_classes))

    def samples() -> Iterator[dict]:
        for index in range(0, len(raw), max(1, -(-len(raw) // SCANS))):
            yield raw[index]

    for name, value in world.on_rank_zero(lambda: backbone.input_statistics(samples())).items():
        backbone.get_buffer(name).copy_(value)
