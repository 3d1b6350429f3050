"""``annotator3d label`` and ``render``: from a work directory to a labelling session."""

from __future__ import annotations

import dataclasses
import getpass
from pathlib import Path

import numpy as np
import yaml

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.annotation.opening import open_session
from annotator3d.annotation.packages.export import ExportOptions, ExportResult, write_package
from annotator3d.annotation.packages.package import TAXONOMY_FILE, PackageSource
from annotator3d.annotation.review import Criteria
from annotator3d.annotation.session import LabelSession, SessionOptions
from annotator3d.data.formats.kitti import read_bin
from annotator3d.data.scan import Scan
from annotator3d.data.scan_source import DatasetSource
from annotator3d.data.taxonomy import Taxonomy, dump_taxonomy, parse_taxonomy
from annotator3d.engine.class_list import with_current_classes
from annotator3d.engine.config.load import make_config
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.database import is_package
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter
from annotator3d.viz.colours import Colours
from annotator3d.viz.keys import KeyTable, make_keys
from annotator3d.viz.still import Still, still_of_query, still_of_scan

DEMO_SCANS, DEMO_VOXELS = 4, 6


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
        ClassListChangedError, ConfigError: see `opening.open_session`.
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
    session = open_session(
        folder.ledger_path,
        source,
        annotator or getpass.getuser(),
        taxonomy.names,
        taxonomy.digest(),
        predictions,
        options,
        review,
    )
    return SessionBundle(session, table, _palette(taxonomy), sorted(source.warnings))


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
    session = open_session(
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
    return SessionBundle(session, table, _palette(taxonomy), words)


def refuse_options(package: Path, config: str | None, data_root: str | None) -> None:
    """Raise ConfigError for an option that does not apply to a work package."""
    for option, value in (("--config", config), ("--data-root", data_root)):
        if value is not None:
            raise ConfigError(
                f"{option} {value}: {package} is a work package, which carries its own scans and "
                "class list; leave the option out"
            )


def _mode(review: Criteria | None) -> str:
    return "label" if review is None else "review"


def taxonomy_of(package: PackageSource) -> Taxonomy:
    """The class list that a package carries."""
    content = yaml.safe_load(package.file(TAXONOMY_FILE))
    return parse_taxonomy(content, TAXONOMY_FILE, f"{TAXONOMY_FILE} in {package.path}")


def make_demo(work_dir: Path, reporter: Reporter | None = None) -> None:
    """Queries in simulated scans, to learn the viewer with; leaves an existing demo as it is."""
    from annotator3d.engine.rounds.select_only import select_only

    if WorkDir(work_dir).ledger_path.is_file():
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


def still_of(
    what: Path,
    query: int | None,
    *,
    config: str | None = None,
    data_root: str | None = None,
    mode: str | None = None,
    view: str = "sensor",
    background: str = "light",
) -> Still:
    """What `annotator3d render` draws: a scan file, or a query of a work directory.

    Raises:
        FileNotFoundError: there is neither.
        ConfigError: a query of a scan file, or a colour that a file cannot have.
    """
    if is_package(what):
        refuse_options(what, config, data_root)
        source = PackageSource(what)
        palette = _palette(taxonomy_of(source))
        with Ledger.read(what) as ledger:
            return still_of_query(ledger, source, source, query, palette, mode, view, background)
    if what.is_dir():
        work_dir = WorkDir(what)
        with work_dir.ledger() as ledger:
            source = scan_source(work_dir, config, data_root, Reporter())
            palette = _palette(source.dataset.taxonomy)
            stored = StoredPredictions(work_dir.rounds, ledger.to_current)
            return still_of_query(ledger, source, stored, query, palette, mode, view, background)
    if not what.is_file():
        raise FileNotFoundError(f"there is no scan file or work directory {what}")
    if query is not None or mode not in (None, "height", "intensity"):
        raise ConfigError(f"{what} is a scan file: it has no queries, only height and intensity")
    if what.suffix != ".bin":
        raise ConfigError(
            f"{what}: expected a .bin scan; `annotator3d import` converts other formats"
        )
    scan = Scan.from_raw(what.stem, *read_bin(what))
    return still_of_scan(scan, mode or "height", view, background)


def scan_source(
    work_dir: WorkDir, config: str | None, data_root: str | None, reporter: Reporter
) -> DatasetSource:
    """The scans that the queries of a work directory were asked about, by their ids in the ledger.

    Raises as `open_labelling`, and ValueError naming scans that are nowhere.
    """
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


def export_package(
    work_dir: WorkDir,
    out: Path,
    options: ExportOptions,
    *,
    config: str | None = None,
    data_root: str | None = None,
    reporter: Reporter,
) -> ExportResult:
    """A work package of a work directory's queries; see `packages.export.write_package`."""
    with work_dir.ledger() as ledger:
        size = ledger.voxel_size
    source = scan_source(work_dir, config, data_root, reporter)
    taxonomy = source.dataset.taxonomy
    with Ledger.open(work_dir.ledger_path, taxonomy.names, taxonomy.digest(), size) as ledger:
        return write_package(
            ledger,
            out,
            source,
            dump_taxonomy(taxonomy),
            options,
            predictions=StoredPredictions(work_dir.rounds, ledger.to_current),
            progress=lambda done, total: reporter.progress("packing scans", done, total),
        )


def _palette(taxonomy: Taxonomy) -> Colours:
    return (taxonomy.colors / 255).astype(np.float32)
