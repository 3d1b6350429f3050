"""The scans of a work directory, and the colours of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annotator3d.data.scan_source import DatasetSource
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.engine.workdir import WorkDir
from annotator3d.reporter import Reporter
from annotator3d.viz.colours import Colours


def scan_source(
    work_dir: WorkDir, config: str | None, data_root: str | None, reporter: Reporter
) -> DatasetSource:
    """The scans that the queries of a work directory were asked about, by their ids in the ledger.

    Raises as `labelling.open_labelling`, and ValueError naming scans that are nowhere.
    """
    from annotator3d.engine.class_list import with_current_classes

    run = with_current_classes(work_dir.config(config), work_dir, data_root)
    values = run.data.train
    if data_root is None and values and (config is None or "root" not in values):
        data_root = _last_root(work_dir, values.get("root"))
    # Not `open_dataset`: a damaged scan is set aside, and the other queries can be answered.
    return DatasetSource(*work_dir.pool(run, data_root, reporter))


def _last_root(work_dir: WorkDir, configured: str | None) -> str | None:
    """Where the run read its scans last, with ``--data-root``, unless they are gone from there."""
    last = work_dir.data_root("train")
    return last if last and (configured is None or Path(last).is_dir()) else None


def class_colours(taxonomy: Taxonomy) -> Colours:
    """Colours [C, 3] float32, 0..1, of the classes."""
    return (taxonomy.colors / 255).astype(np.float32)
