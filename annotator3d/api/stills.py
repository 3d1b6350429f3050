"""A picture of a scan in perspective, without a window."""

from __future__ import annotations

from pathlib import Path

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.annotation.packages.package import PackageSource
from annotator3d.api.packages import refuse_options, taxonomy_of
from annotator3d.api.scans import class_colours, scan_source
from annotator3d.data.formats.kitti import read_bin
from annotator3d.data.scan import Scan
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError, in_yaml
from annotator3d.ledger.database import is_package
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter
from annotator3d.viz.colours import BACKGROUNDS
from annotator3d.viz.render import render as draw
from annotator3d.viz.still import Still, still_of_query, still_of_scan


def render(
    what: str | Path,
    out: str | Path,
    *,
    query: int | None = None,
    colour: str | None = None,
    view: str = "sensor",
    background: str = "light",
    size: tuple[int, int] = (1280, 720),
    config: str | None = None,
    data_root: str | None = None,
) -> Path:
    """Draw a scan, or a query in its scan, into a PNG file; returns its path.

    Args:
        what: a ``.bin`` scan, a work directory or a work package.
        out: the PNG file.
        query: number of the query to look at; None: the first of the last round.
        colour: 'height', 'intensity', 'prediction', 'answer' or 'confusion'; None: the confusion
            where it was stored, else the height.
        view: 'sensor', 'above' or 'side'.
        background: 'light' or 'dark'.
        size: width and height in pixels.
        config, data_root: see `open_session`.

    Raises:
        FileNotFoundError: neither scan nor work directory, or no folder to write to.
        ConfigError: a query of a scan file, or a colour that it cannot have.
        ValueError: a colour, view, background or size that does not exist.
    """
    if background not in BACKGROUNDS:
        known = " or ".join(BACKGROUNDS)
        raise ValueError(f"background: expected {known}, got {in_yaml(background)}")
    if min(size) < 1:
        raise ValueError(f"size: expected width and height in pixels, got {size}")
    still = still_of(
        Path(what),
        query,
        config=config,
        data_root=data_root,
        mode=colour,
        view=view,
        background=background,
    )
    draw(still, Path(out), *size, say=lambda text: None)
    return Path(out)


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
        palette = class_colours(taxonomy_of(source))
        with Ledger.read(what) as ledger:
            return still_of_query(ledger, source, source, query, palette, mode, view, background)
    if what.is_dir():
        work_dir = WorkDir(what)
        with work_dir.ledger() as ledger:
            source = scan_source(work_dir, config, data_root, Reporter())
            palette = class_colours(source.dataset.taxonomy)
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
