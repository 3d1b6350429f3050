"""A viewer of a work directory, as commands open it: its options, its checks, what it leaves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from annotator3d.cli.choices import OFFERS, ORDERS
from annotator3d.cli.options import add_annotator, add_shares
from annotator3d.cli.review_options import criteria_of, shares_of
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    import socket

    from annotator3d.api.labelling import SessionBundle
    from annotator3d.viz.view_settings import ViewSettings

HOST, PORT = "127.0.0.1", 8080


class Viewer(NamedTuple):
    """What a check has found."""

    is_quick: bool  # it draws fast enough to fly
    listening: list[socket.socket] | None  # for a browser


def add_viewing(parser: argparse.ArgumentParser) -> None:
    """The options of a viewer in which a person answers."""
    add = parser.add_argument
    add_annotator(parser, "name that is stored with each answer (default: your user name)")
    add(
        "--order",
        default="scan",
        metavar="|".join(ORDERS),
        help="order in which the voxels come (default: scan)",
    )
    add(
        "--offer",
        default="uniform",
        metavar="|".join(OFFERS),
        help="voxels for which the prediction of the network can be accepted (default: uniform)",
    )
    add("--blind", action="store_true", help="show no predictions at all")
    add("--keys", metavar="FILE", help="YAML file that changes keys")
    add("--jump", action="store_true", help="jump to the next voxel instead of flying there")
    add_shares(parser)
    _add_web(parser)


def _add_web(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("browser").add_argument
    add("--web", action="store_true", help="show it in a browser instead of a window")
    add(
        "--host",
        default=HOST,
        metavar="ADDRESS",
        help="address to serve (default: this machine only); the link that is printed has a token",
    )
    add("--port", type=int, default=PORT, help="port to serve (default: 8080; 0: a free one)")


def check_viewer(args: argparse.Namespace) -> Viewer:
    """Before torch is imported, which takes seconds, and before anything is opened.

    Raises ConfigError for an address that cannot be, ViewerError where nothing can be shown.
    """
    from annotator3d.viz.desktop.system import check_browser, check_window
    from annotator3d.viz.flight import SLOW_PICTURE

    if args.web:
        from annotator3d.viz.web.address import listen

        listening = listen(args.host, args.port)
        check_browser()
        return Viewer(True, listening)  # a browser draws by itself
    _refuse_address(args)
    return Viewer(check_window() < SLOW_PICTURE, None)


def view(args: argparse.Namespace, work_dir: Path, viewer: Viewer) -> None:
    """Show the voxels that wait, until the window or the page is closed; say what is left."""
    from annotator3d.viz.view_settings import ViewSettings

    opened = _open(args, work_dir)
    try:
        total = opened.session.progress.total
        print(f"{work_dir}: {_waiting(opened, total)}", flush=True)
        for warning in opened.warnings:
            print(warning, flush=True)
        _log_to(work_dir / "viewer.log" if work_dir.is_dir() else work_dir.with_suffix(".log"))
        settings = ViewSettings(flies=viewer.is_quick and not args.jump)
        _show(opened, args, settings, viewer.listening)
        left = _waiting(opened, total, "still ")
        disputed = _disputed(opened, work_dir)
        for scan, why in opened.session.set_aside.items():
            print(f"scan {scan} is set aside: {why}")
    finally:
        opened.session.close()
    print(f"{work_dir}: {left}")
    if disputed:
        print(disputed)


def _refuse_address(args: argparse.Namespace) -> None:
    for option, value, usual in (("--host", args.host, HOST), ("--port", args.port, PORT)):
        if value != usual:
            raise ConfigError(f"{option} {value} belongs to --web; add it, or drop {option}")


def _open(args: argparse.Namespace, work_dir: Path) -> SessionBundle:
    from annotator3d.annotation.session import SessionOptions
    from annotator3d.api.labelling import open_labelling
    from annotator3d.cli.terminal import open_reporter

    shares = shares_of(args)
    options = SessionOptions(order=args.order, offer=args.offer, blind=args.blind, **shares)
    review = criteria_of(args, work_dir)
    with open_reporter() as reporter:
        return open_labelling(
            work_dir,
            config=args.config,
            data_root=args.data_root,
            annotator=args.annotator,
            keys=args.keys,
            options=options,
            review=review,
            reporter=reporter,
        )


def _show(
    opened: SessionBundle,
    args: argparse.Namespace,
    settings: ViewSettings,
    listening: list[socket.socket] | None,
) -> None:
    """Until the window or the page is closed."""
    if args.web:
        from annotator3d.viz.web.server import serve

        serve(
            opened.session,
            opened.keys,
            opened.palette,
            args.host,
            args.port,
            settings=settings,
            listening=listening,
        )
    else:
        from annotator3d.viz.desktop.window import LabelWindow

        LabelWindow(opened.session, opened.keys, opened.palette, settings).run()


def _waiting(opened: SessionBundle, total: int, still: str = "") -> str:
    from annotator3d.annotation.review_session import ReviewSession
    from annotator3d.ledger.describe import describe_holders

    session, held = opened.session, opened.session.held_by_others
    if isinstance(session, ReviewSession):
        words = [f"{session.to_review} of {total} voxels are {still}to be reviewed"]
        if first := session.to_answer_first:
            words.append(f"{first} more wait for an answer first")
        wanted = held.keys() & session.matching()
    else:
        words = [f"{session.progress.open} of {total} voxels {still}wait for an answer"]
        wanted = {query for query in held if session.state_of(query) == "open"}
    if wanted:
        words.append(describe_holders(held[query] for query in wanted))
    return "; ".join(words)


def _disputed(opened: SessionBundle, work_dir: Path) -> str | None:
    """What nobody has decided about; a review goes through these anyway."""
    from annotator3d.annotation.review_session import ReviewSession
    from annotator3d.ledger.describe import describe_disputed

    count = opened.session.progress.disputed
    if not count or isinstance(opened.session, ReviewSession):
        return None
    return describe_disputed(count, work_dir)


def _log_to(path: Path) -> None:
    """Errors of the viewer go to a file beside the ledger, as well as to the screen."""
    import logging

    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("annotator3d.viz").addHandler(handler)
