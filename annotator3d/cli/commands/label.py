"""``annotator3d label``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.choices import OFFERS, ORDERS
from annotator3d.cli.command import command
from annotator3d.cli.options import add_annotator, add_scans, add_shares
from annotator3d.cli.review_options import add_review, criteria_of, shares_of
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    import socket

    from annotator3d.api.labelling import SessionBundle
    from annotator3d.viz.view_settings import ViewSettings

DEMO = Path("work_dirs/label-demo")
HOST, PORT = "127.0.0.1", 8080


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "work_dir",
        nargs="?",
        metavar="WORK_DIR|PACKAGE",
        help="work directory of a run, or a work package",
    )
    add("--demo", action="store_true", help="practise on simulated scans; needs no data")
    add_scans(parser)
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
    add_review(parser)


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


@command(
    "label",
    help="answer the queries of a run, in a window or in a browser",
    options=add_options,
    order=40,
)
def label(args: argparse.Namespace) -> None:
    from annotator3d.cli.stopping import run_until_stopped

    run_until_stopped(lambda: _label(args), "all answers are saved")


def _label(args: argparse.Namespace) -> None:
    from annotator3d.viz.desktop.system import check_browser, check_window
    from annotator3d.viz.flight import SLOW_PICTURE
    from annotator3d.viz.view_settings import ViewSettings

    if args.demo == (args.work_dir is not None):
        raise ConfigError("label needs either a WORK_DIR or --demo")
    if args.demo and args.review:
        raise ConfigError(f"--review needs answers: annotator3d label {DEMO} --review")
    # Before torch is imported, which takes seconds, and before anything is opened.
    is_quick, listening = True, None  # a browser draws by itself
    if args.web:
        from annotator3d.viz.web.address import listen

        listening = listen(args.host, args.port)
        check_browser()
    else:
        _refuse_address(args)
        is_quick = check_window() < SLOW_PICTURE
    work_dir = DEMO if args.demo else Path(args.work_dir)
    opened = _open(args, work_dir)
    try:
        total = opened.session.progress.total
        print(f"{work_dir}: {_waiting(opened, total)}", flush=True)
        for warning in opened.warnings:
            print(warning, flush=True)
        _log_to(work_dir / "viewer.log" if work_dir.is_dir() else work_dir.with_suffix(".log"))
        _show(opened, args, ViewSettings(flies=is_quick and not args.jump), listening)
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
    from annotator3d.api.demo import make_demo
    from annotator3d.api.labelling import open_labelling
    from annotator3d.cli.terminal import open_reporter

    shares = shares_of(args)
    options = SessionOptions(order=args.order, offer=args.offer, blind=args.blind, **shares)
    review = None if args.demo else criteria_of(args, work_dir)
    with open_reporter() as reporter:
        if args.demo:
            make_demo(work_dir, reporter)
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
