"""Opening a labelling session on the ledger of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from annotator3d.annotation.options import SessionOptions
from annotator3d.annotation.review import Criteria
from annotator3d.annotation.review_session import ReviewSession
from annotator3d.annotation.session import LabelSession
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.errors import some
from annotator3d.ledger.connection import ClassListChangedError
from annotator3d.ledger.ledger import Ledger

__all__ = ["ClassListChangedError", "compare_classes", "open_session"]


def open_session(
    path: str | Path,
    source: ScanSource,
    annotator: str,
    class_names: Sequence[str],
    digest: str,
    predictions: Predictions | None = None,
    options: SessionOptions | None = None,
    review: Criteria | None = None,
) -> LabelSession:
    """A session on an existing ledger.

    Args:
        path: ``ledger.sqlite`` of a work directory.
        source: the scans.
        annotator: who answers.
        class_names: of the taxonomy in use now, by train id.
        digest: `Taxonomy.digest`.
        predictions: such as `stored_predictions.StoredPredictions`.
        review: what to review; None: to label.

    Raises:
        FileNotFoundError: there is no such ledger.
        ClassListChangedError: the ledger has another class list; says what differs and what to do.
        ConfigError: an unknown option, or an annotator without a name.
    """
    with Ledger.read(path) as ledger:
        names, size = ledger.taxonomy_names, ledger.voxel_size
        differences = compare_classes(names, class_names)
        if not differences and ledger.taxonomy_digest != digest:
            differences = ["the map of raw ids to classes has changed"]
    if differences:
        raise ClassListChangedError(
            f"the class list has changed since the queries of {path} were asked: "
            f"{'; '.join(differences)}. Use the class list that the queries were asked with, or "
            "move queries and answers to the new one: "
            f"`annotator3d taxonomy migrate {Path(path).parent} NEW.yaml` "
            "(a dry run, which shows what would change, unless --apply is given)"
        )
    ledger = Ledger.open(path, class_names, digest, size)
    try:
        if review is not None:
            return ReviewSession(ledger, source, annotator, predictions, options, criteria=review)
        return LabelSession(ledger, source, annotator, predictions, options)
    except BaseException:
        ledger.close()
        raise


def compare_classes(then: Sequence[str], now: Sequence[str]) -> list[str]:
    """What differs between two class lists, in words; empty if nothing does."""
    found = [f"{name!r} is gone" for name in then if name not in now]
    found += [f"{name!r} is new" for name in now if name not in then]
    moved = [name for name in then if name in now and then.index(name) != now.index(name)]
    if moved and not found:
        places = some(f"{n!r} was {then.index(n)}, is {now.index(n)}" for n in moved)
        found.append(f"the order of the classes: {places}")
    return found
