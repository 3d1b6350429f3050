"""Texts and digests of a ledger that do not depend on when, where or in how many pieces it grew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np

from annotator3d.data.scan import VoxelLabels
from annotator3d.ledger.records import Answer, Query, Round, ScanRecord

_FORMAT = 2  # of the text


def labels_digest(labels: Iterable[tuple[str, VoxelLabels]]) -> str:
    """blake2b over (scan id, cell, round, labels) in the order given."""
    digest = hashlib.blake2b(digest_size=16)
    for scan, entry in labels:
        head = json.dumps([scan, entry.cell, entry.round, len(entry.labels)])
        digest.update(head.encode() + np.asarray(entry.labels, np.uint8).tobytes())
    return digest.hexdigest()


def canonical_text(
    settings: Mapping[str, object],
    scans: Iterable[ScanRecord],
    rounds: Iterable[Round],
    responses: Iterable[tuple[Query, Answer | None]],
) -> str:
    """See `LedgerReader.export_canonical`."""
    lines: list[dict[str, object]] = [{"ledger": _FORMAT, **settings}]
    for scan in scans:
        lines.append({"scan": scan.id, "file": scan.fingerprint, "points": scan.num_points})
    for entry in rounds:
        lines.append(
            {
                "round": entry.number,
                "strategy": entry.strategy,
                "seed": entry.seed,
                "budget": entry.budget,
                "max_queries": entry.max_queries,
                "epoch": entry.epoch,
            }
        )
    for query, answer in responses:
        line: dict[str, object] = {
            "round": query.round,
            "scan": query.scan,
            "cell": list(query.cell),
            "rank": query.rank,
            "score": query.score,
            "points": query.num_points,
        }
        if query.label_points is not None:
            line["label_points"] = list(query.label_points)
        if answer is not None:
            line |= {"response": answer.kind, "annotator": answer.annotator}
            if answer.labels is not None:
                line["labels"] = answer.labels.tolist()
        lines.append(line)
    return "".join(json.dumps(line) + "\n" for line in lines)
