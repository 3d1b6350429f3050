"""The demo of ``annotator3d label``: queries in simulated scans."""

from __future__ import annotations

from pathlib import Path

from annotator3d.engine.workdir import WorkDir
from annotator3d.reporter import Reporter

DEMO_SCANS, DEMO_VOXELS = 4, 6


def make_demo(work_dir: Path, reporter: Reporter | None = None) -> None:
    """Queries in simulated scans, to learn the viewer with; leaves an existing demo as it is."""
    from annotator3d.engine.config.load import make_config
    from annotator3d.engine.rounds.select_only import select_only

    if WorkDir(work_dir).has_ledger():
        return
    config = make_config(
        {
            "setting": "al",
            "data": {
                "train": {
                    "type": "SimulatedStreets",
                    "domain": "hdl64",
                    "sequences": 1,
                    "scans": DEMO_SCANS,
                    "azimuths": 1024,
                }
            },
            "active": {
                "strategy": "random",
                "queries_per_scan": DEMO_VOXELS,
                "min_points": 8,
                "max_range": 25.0,
                "oracle": "person",
            },
        }
    )
    select_only(config, work_dir, reporter=reporter)
