"""The commands of the person in the loop: ``label`` and ``render``, with their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.review_options import add_to_label, criteria_of, label_shares
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.api import SessionBundle

AddCommand = Callable[[str, str], argparse.ArgumentParser]
# Copies, since help must work where numpy does not; a test compares them with the originals.
OFFERS = ("uniform", "all", "off")
ORDERS = ("scan", "score", "round", "points", "random")
MODES = ("height", "intensity", "prediction", "answer", "confusion")
VIEWS = ("sensor", "above", "side")
DEMO = Path("work_dirs/label-demo")


def add_parsers(command: AddCommand) -> None:
    """Add the options of each command; `command` makes its parser."""
    sub = command("label", "answer the queries of a run, in a window or in a browser")
    sub.add_argument("work_dir", nargs="?", metavar="WORK_DIR|PACKAGE", help="holds the ledger")
    sub.add_argument(
        "--demo", action="store_true", help="practise on simulated scans; no data needed"
    )
    _opening(sub)
    sub.add_argument("--annotator", metavar="NAME", help="stands beside each answer; default: you")
    sub.add_argument("--order", default="scan", metavar="|".join(ORDERS))
    sub.add_argument("--offer", default="uniform", metavar="|".join(OFFERS),
                     help="for which voxels the network's prediction can be accepted")  # fmt: skip
    sub.add_argument("--blind", action="store_true", help="show no predictions at all")
    sub.add_argument("--keys", metavar="FILE", help="YAML file that changes keys")
    sub.add_argument("--jump", action="store_true",
                     help="the camera jumps to the next voxel instead of flying there")  # fmt: skip
    sub.add_argument("--web", action="store_true", help="serve it to a browser on this machine")
    sub.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                     help="with --web: serve it elsewhere too, behind a token")  # fmt: skip
    sub.add_argument("--port", type=int, default=8080, help="with --web")
    add_to_label(sub)

    sub = command("render", "a picture of a scan, or of a query in it, without a window")
    sub.add_argument("what", metavar="SCAN|WORK_DIR|PACKAGE", help="what to draw")
    sub.add_argument("--query", type=int, metavar="N", help="number of the query to look at")
    sub.add_argument("--out", required=True, metavar="FILE.png")
    sub.add_argument("--size", default="1280x720", metavar="WxH")
    sub.add_argument("--colour", default=None, metavar="|".join(MODES))
    sub.add_argument("--view", default="sensor", choices=VIEWS)
    sub.add_argument("--background", default="light", choices=("dark", "light"))
    _opening(sub)


def label(args: argparse.Namespace) -> int:
    from annotator3d.viz.desktop.system import check_browser, check_window
    from annotator3d.viz.flight import SLOW_PICTURE
    from annotator3d.viz.view_settings import ViewSettings

    if args.demo == (args.work_dir is not None):
        raise ConfigError("label needs either a WORK_DIR or --demo")
    if args.demo and args.review:
        raise ConfigError(f"--review needs answers: annotator3d label {DEMO} --review")
    # Before torch is imported, which takes seconds.
    is_quick = True  # a browser draws by itself
    if args.web:
        check_browser()
    else:
        is_quick = check_window() < SLOW_PICTURE
    work_dir = DEMO if args.demo else Path(args.work_dir)
    opened = _open(args, work_dir)
    try:
        before = opened.session.progress
        print(f"{work_dir}: {_waiting(opened, before.total)}", flush=True)
        for trouble in opened.warnings:
            print(trouble, flush=True)
        _log_to(work_dir / "viewer.log" if work_dir.is_dir() else work_dir.with_suffix(".log"))
        settings = ViewSettings(flies=is_quick and not args.jump)
        if args.web:
            from annotator3d.viz.web.server import serve

            serve(
                opened.session, opened.keys, opened.palette, args.host, args.port, settings=settings
            )
        else:
            from annotator3d.viz.desktop.window import LabelWindow

            LabelWindow(opened.session, opened.keys, opened.palette, settings).run()
        left = _waiting(opened, before.total, "still ")
        disputed = _disputed(opened, work_dir)
        for scan, why in opened.session.set_aside.items():
            print(f"scan {scan} is set aside: {why}")
    finally:
        opened.session.close()
    print(f"{work_dir}: {left}")
    if disputed:
        print(disputed)
    return 0


def _waiting(opened: SessionBundle, total: int, still: str = "") -> str:
    from annotator3d.annotation.review import ReviewSession
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
    """What nobody has decided about; in a review that is what it goes through."""
    from annotator3d.annotation.review import ReviewSession
    from annotator3d.ledger.describe import describe_disputed

    count = opened.session.progress.disputed
    if not count or isinstance(opened.session, ReviewSession):
        return None
    return describe_disputed(count, work_dir)


def _open(args: argparse.Namespace, work_dir: Path) -> SessionBundle:
    from annotator3d.annotation.session import SessionOptions
    from annotator3d.api import make_demo, open_labelling
    from annotator3d.cli.terminal import open_reporter

    shares = label_shares(args)
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


def render(args: argparse.Namespace) -> None:
    from annotator3d.api import still_of
    from annotator3d.viz.render import render as draw

    width, height = _size(args.size)
    still = still_of(
        Path(args.what),
        args.query,
        config=args.config,
        data_root=args.data_root,
        mode=args.colour,
        view=args.view,
        background=args.background,
    )
    drawn = draw(still, Path(args.out), width, height)
    print(f"{args.out}: {len(still.xyz)} points, {len(still.numbers)} queries, drawn by {drawn}")


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) * int(height)):
        raise ConfigError(f"--size: expected WIDTHxHEIGHT in pixels, got {text!r}")
    return int(width), int(height)


def _opening(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--config", metavar="CONFIG", help="where the work directory holds none")
    sub.add_argument("--data-root", metavar="DIR", help="where the scans are now")


def _log_to(path: Path) -> None:
    """Errors of the viewer go to a file beside the ledger, as well as to the screen."""
    import logging

    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("annotator3d.viz").addHandler(handler)


COMMANDS = {"label": label, "render": render}
