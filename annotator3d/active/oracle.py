"""Oracles: who answers a query. The ground truth in an experiment, a person in production; a
person with human errors is simulated in `noisy_oracle`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import Scan, rows_of_cell
from annotator3d.errors import count
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import Answer, Query
from annotator3d.ledger.schema import EventKind
from annotator3d.registry import ORACLES, build, lookup

__all__ = [
    "ORACLES",
    "Oracle",
    "HumanOracle",
    "GroundTruthOracle",
    "answer_open_queries",
    "get_oracle",
    "needs_truth",
]


class Oracle(Protocol):
    """Anything that answers queries.

    It may have an attribute `needs_truth` (True: the scans must have labels), a method
    `begin(ledger)`, which is called with the open ledger before the first answer, and a class
    method `check_config(keywords)`, which raises ConfigError for wrong keywords of a config before
    any work begins.
    """

    automatic: bool  # False: never answers by itself, so scans need not be read for it

    def answer(self, query: Query, scan: Scan, point_indices: NDArray[np.int64]) -> Answer | None:
        """The answer to a query; None leaves it open.

        Args:
            query: which voxel is asked about.
            scan: the scan that it lies in.
            point_indices: [n] rows of ``scan.xyz``, ascending: the points that are asked about, one
                label each. They are all points of the voxel unless ``query.label_points`` says
                otherwise.
        """
        ...


@ORACLES.register_module("truth")
class GroundTruthOracle:
    """Answers with the labels of the scan, one for each point, 255 for ignored ones."""

    automatic = True
    needs_truth = True

    def answer(self, query: Query, scan: Scan, point_indices: NDArray[np.int64]) -> Answer:
        """The true labels [n]; see `Oracle.answer`. Raises ValueError for a scan without labels."""
        if scan.labels is None:
            raise ValueError(
                f"scan {scan.id} has no label file, so its ground truth cannot answer; use the "
                "oracle 'person', or add the labels"
            )
        return Answer(EventKind.ANSWER, scan.labels[point_indices], annotator="truth")


@ORACLES.register_module("person")
class HumanOracle:
    """Leaves every query open for a person in the viewer."""

    automatic = False

    def answer(self, query: Query, scan: Scan, point_indices: NDArray[np.int64]) -> None:
        """None: a person answers later."""
        return None


def get_oracle(oracle: str | Mapping[str, Any], **run: Any) -> Oracle:
    """The oracle of a registered name, or of a config: a ``type`` and its keywords.

    Args:
        run: values of the run for constructors that name them: `seed` and `class_names`.

    Raises ValueError for an unknown name (with the nearest one) or a value out of range.
    """
    config = {"type": oracle} if isinstance(oracle, str) else oracle
    named = inspect.signature(lookup(ORACLES, config.get("type"))).parameters
    return build(ORACLES, config, **{key: run[key] for key in run if key in named})


def needs_truth(name: str) -> bool:
    """Whether an oracle answers from labels that the scans must have."""
    return getattr(lookup(ORACLES, name), "needs_truth", False)


def answer_open_queries(
    ledger: Ledger,
    oracle: Oracle,
    read_scan: Callable[[str], Scan],
    *,
    fingerprint: Callable[[str], str] | None = None,
) -> int:
    """Let an oracle answer every open query; returns how many it answered.

    Each answer is committed by itself: after a crash, calling again answers what is left.

    Args:
        ledger: open for writing.
        oracle: see `Oracle`.
        read_scan: scan id -> scan with labels.
        fingerprint: scan id -> fingerprint of its file, compared with the registered one.

    Raises ValueError if a scan is not the one that was asked about.
    """
    answered = 0
    if not oracle.automatic:
        return answered
    if (begin := getattr(oracle, "begin", None)) is not None:
        begin(ledger)
    for scan_id, queries in groupby(_by_scan(ledger), key=lambda query: query.scan):
        scan = read_scan(scan_id)
        _check_scan(ledger, scan, None if fingerprint is None else fingerprint(scan_id))
        for query in queries:
            rows = rows_of_cell(scan.xyz, query.cell, ledger.voxel_size)
            if len(rows) != query.num_points:
                raise ValueError(
                    f"scan {scan_id}, cell {query.cell}: asked with "
                    f"{count(query.num_points, 'point')}, "
                    f"now there are {len(rows)}; the scan is not the one that was asked about"
                )
            answer = oracle.answer(query, scan, query.asked_of(rows))
            if answer is not None:
                ledger.record(query.id, answer)
                answered += 1
    return answered


def _by_scan(ledger: Ledger) -> list[Query]:
    return sorted(ledger.open_queries(), key=lambda query: query.scan)


def _check_scan(ledger: Ledger, scan: Scan, fingerprint: str | None) -> None:
    known = ledger.scan(scan.id)
    if known is None:
        raise ValueError(f"scan {scan.id} is not in {ledger.path}; read_scan gave another scan")
    if change := known.change(scan.num_raw, fingerprint, f"scan {scan.id}"):
        raise ValueError(change)
