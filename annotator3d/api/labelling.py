"""From a work directory or a work package to a labelling session."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from annotator3d.account import user_name
from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.annotation.opening import open_session as open_on_ledger
from annotator3d.annotation.packages.package import PackageSource
from annotator3d.annotation.review import Criteria
from annotator3d.annotation.session import LabelSession, SessionOptions
from annotator3d.api.packages import refuse_options, taxonomy_of
from annotator3d.api.scans import class_colours, scan_source
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.database import is_package
from annotator3d.reporter import Reporter
from annotator3d.viz.colours import Colours
from annotator3d.viz.keys import KeyTable, make_keys


def open_session(
    work_dir_or_package: str | Path,
    annotator: str | None = None,
    *,
    review: Criteria | None = None,
    options: SessionOptions | None = None,
    config: str | None = None,
    data_root: str | None = None,
) -> LabelSession:
    """A session on the queries of a work directory or of a work package, a context manager.

    Each answer is on disk when its method returns. Needs no torch for a package.

    Args:
        annotator: who answers; None: the name of the user's account; of a package, whom it is for.
        review: which answers to review; None: to label.
        options: the order of the queries, what is proposed, and so on.
        config: where the work directory keeps none, as after `annotator3d select`.
        data_root: where the scans are now; None: where they were.

    Raises:
        FileNotFoundError: no such folder or package, no ledger yet, or no scans.
        ConfigError: `config` or `data_root` for a package, which carries its own.
        ClassListChangedError: the class list has changed since the queries were asked.
    """
    opened = open_labelling(
        Path(work_dir_or_package),
        config=config,
        data_root=data_root,
        annotator=annotator,
        options=options,
        review=review,
    )
    return opened.session


@dataclasses.dataclass
class SessionBundle:
    """What a frontend needs."""

    session: LabelSession
    keys: KeyTable
    palette: Colours  # of the classes
    warnings: list[str]  # what cannot be shown, and why; what else a person should know


def open_labelling(
    work_dir: Path,
    *,
    config: str | None = None,
    data_root: str | None = None,
    annotator: str | None = None,
    keys: str | None = None,
    options: SessionOptions | None = None,
    review: Criteria | None = None,
    reporter: Reporter | None = None,
) -> SessionBundle:
    """A session on the ledger of a work directory, or on a work package.

    Args:
        work_dir: a folder, or the file of a package, which needs neither config nor data.
        config: needed where the work directory holds none, as after `annotator3d select`.
        data_root: where the scans are now; default: where they were.
        annotator: default: the name of the user's account; of a package, whom it is for.
        keys: a YAML file that changes keys.
        review: what to review; None: to label.

    Raises:
        FileNotFoundError: no work directory, no ledger yet, or no scans.
        ConfigError: `config` or `data_root` for a package.
        ClassListChangedError, ConfigError: see `annotation.opening.open_session`.
    """
    if is_package(work_dir):
        refuse_options(work_dir, config, data_root)
        return _open_package(work_dir, annotator, keys, options, review)
    if not work_dir.is_dir():
        raise FileNotFoundError(f"no work directory or work package {work_dir}")
    folder = WorkDir(work_dir)
    with folder.ledger() as ledger:
        predictions = StoredPredictions(folder.rounds, ledger.to_current)
    source = scan_source(folder, config, data_root, reporter or Reporter())
    taxonomy = source.dataset.taxonomy
    table = make_keys(taxonomy.names, taxonomy.guidance, keys, _mode(review))
    session = open_on_ledger(
        folder.ledger_path,
        source,
        annotator or user_name(),
        taxonomy.names,
        taxonomy.digest(),
        predictions,
        options,
        review,
    )
    return SessionBundle(session, table, class_colours(taxonomy), sorted(source.warnings))


def _open_package(
    path: Path,
    annotator: str | None,
    keys: str | None,
    options: SessionOptions | None,
    review: Criteria | None,
) -> SessionBundle:
    source = PackageSource(path)
    taxonomy = taxonomy_of(source)
    table = make_keys(taxonomy.names, taxonomy.guidance, keys, _mode(review))
    session = open_on_ledger(
        path,
        source,
        annotator or source.manifest.recipient,
        taxonomy.names,
        taxonomy.digest(),
        source,
        options,
        review,
    )
    to, words = source.manifest.recipient, []
    if session.annotator != to:
        words = [f"{path} was packed for {to}; answers are written as {session.annotator}'s"]
    return SessionBundle(session, table, class_colours(taxonomy), words)


def _mode(review: Criteria | None) -> str:
    return "label" if review is None else "review"
