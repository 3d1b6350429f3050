"""Selection without training over scans that keep arriving."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.rounds.arrivals import growing_folder, listed
from annotator3d.engine.rounds.no_trace import locked_without_trace
from annotator3d.engine.rounds.select_only import (
    check_selection,
    keep_config,
    listing_path,
    next_round,
    scorer_of,
    write_listing,
)
from annotator3d.engine.rounds.stream import Stream, StreamResult, check_stream
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError, count
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter


def select_stream(
    config: RunConfig,
    work_dir: str | os.PathLike[str],
    *,
    checkpoint: str | None = None,
    predictions: str | None = None,
    prediction_kind: str | None = None,
    data_root: str | None = None,
    paths: Iterable[str] | None = None,
    idle: float | None = None,
    reporter: Reporter | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> StreamResult:
    """Ask about voxels of ``data.train``'s scans as they arrive, within a budget per hour.

    Args:
        config, work_dir, checkpoint, predictions, prediction_kind, data_root, reporter: as for
            `select_only`; ``active.queries_per_hour`` is the budget.
        paths: names the scans one by one, by path or id; None: the folder is watched.
        idle: end after so many seconds without a new scan in the folder; None: never.
        wait: what to call between two looks into the folder.

    Raises:
        ConfigError: the strategy or a limit needs more than one scan at a time.
        ValueError: the stream was begun with other settings.
    """
    work_dir, reporter = WorkDir(work_dir), reporter or Reporter()
    check_selection(config, work_dir, checkpoint, predictions, prediction_kind)

    def look():
        return build_dataset({**config.data.train, "labels": "optional"}, "data.train", data_root)

    if isinstance(paths, str):
        raise ValueError(f"paths: expected an iterable of paths or ids, got one text: {paths!r}")
    if idle is not None and (idle < 0 or paths is not None):
        raise ConfigError(
            f"--idle: expected seconds from 0 on, for a folder that is watched; got {idle:g}"
            + ("" if paths is None else ", with paths that are given one by one")
        )
    taxonomy = look().taxonomy
    scorer, source = scorer_of(config, checkpoint, predictions, prediction_kind, taxonomy)
    names, size = taxonomy.names, config.active.voxel_size
    with locked_without_trace(work_dir):
        with Ledger.open(work_dir.ledger_path, names, taxonomy.digest(), size) as ledger:
            plan = next_round(config, ledger, source)
            check_stream(plan, config.active)
            keep_config(work_dir.config_path, config, data_root)
            stream = Stream(ledger, plan, config.active, scorer, work_dir.rounds, reporter)
            if stream.total.scans:
                reporter.info(f"the stream goes on behind {count(stream.total.scans, 'scan')}")
            first = stream.plan.number
            arrivals = (
                growing_folder(look, idle, wait)
                if paths is None
                else listed(paths, look, stream.leave_out)
            )
            try:
                return stream.run(arrivals)
            finally:
                for number in range(first, stream.plan.number + 1):
                    path = listing_path(work_dir, number)
                    write_listing(path, ledger.queries(number), size)
