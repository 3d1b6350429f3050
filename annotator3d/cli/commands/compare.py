"""``annotator3d compare``."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.data.files import require_folder
from annotator3d.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experiment",
        nargs="?",
        metavar="EXPERIMENT",
        help="an experiment file, or the name of an installed one",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="default: work_dirs/ and the name of the experiment file"
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="root of the target dataset, where its configs have none"
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs side by side (default: one for each core)"
    )
    parser.add_argument(
        "--task-index", type=int, metavar="I", help="train one share of the runs only: 0 to N - 1"
    )
    parser.add_argument(
        "--task-count", type=int, metavar="N", help="of that many, as in an array of SLURM"
    )
    parser.add_argument(
        "--report-only", action="store_true", help="train nothing; report what has ended"
    )
    parser.add_argument(
        "--amend",
        action="store_true",
        help="take an experiment file that was changed after its first run; the report says so",
    )
    parser.add_argument(
        "--from", dest="archive", metavar="results.zip", help="make the report of an archive again"
    )
    parser.add_argument(
        "--continue-from",
        metavar="results.zip",
        help="take the whole pairs of an earlier archive of this experiment as run",
    )
    parser.add_argument(
        "--trust",
        dest="say_yes",
        action="store_true",
        help="run the Python code that the configs name; remembered for their folders",
    )


@command(
    "compare",
    help="compare query strategies on paired seeds, with tests, and write a report",
    options=add_options,
    order=54,
    when_stopped="; nothing in the ledgers is lost: the same command continues",
)
def compare(args: argparse.Namespace) -> int:
    from annotator3d.cli.stopping import run_until_stopped

    _check(args)
    kept = "runs that have ended and checkpoints are kept"
    return run_until_stopped(lambda: _compare(args), kept)


def _compare(args: argparse.Namespace) -> int:
    from annotator3d.analysis.compare.experiments import ExperimentFolder
    from annotator3d.analysis.compare.report import write_comparison
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.config.experiment import find_experiment

    if args.archive is not None:
        print(f"report: {write_comparison(args.archive, Path(args.out))}")
        return 0
    file = find_experiment(args.experiment)
    folder = ExperimentFolder(
        file,
        Path(args.out or Path("work_dirs") / file.stem),
        data_root=args.data_root,
        say_yes=args.say_yes,
    )
    folder.keep_file(amend=args.amend)
    with open_reporter() as reporter:
        if args.continue_from is not None:
            folder.continue_from(Path(args.continue_from), reporter)
        if not args.report_only:
            folder.warn(reporter)
            share = (args.task_index or 0, args.task_count or 1)
            folder.run(reporter, args.jobs, share)
        if args.task_count is None or args.report_only:
            print(f"report: {folder.report(reporter)}")
        else:
            print("this share has ended; when all have, --report-only writes the report")
    failures = folder.failures()
    for name, why in failures.items():
        print(f"failed: {name}: {why}")
    return 1 if failures else 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not fit, and say at once if a library is missing."""
    if (args.experiment is None) == (args.archive is None):
        raise ConfigError("expected either an experiment file or --from results.zip")
    if args.archive is not None and args.out is None:
        raise ConfigError("--out: where shall the report of the archive go?")
    if args.data_root is not None:
        require_folder(args.data_root, "--data-root")
    if args.jobs is not None and args.jobs < 1:
        raise ConfigError(f"--jobs: expected at least 1, got {args.jobs}")
    if (args.task_index is None) != (args.task_count is None):
        raise ConfigError("--task-index and --task-count belong together; give both or neither")
    if args.task_count is not None and not 0 <= args.task_index < args.task_count:
        raise ConfigError(
            f"--task-index: expected 0 to {args.task_count - 1}, got {args.task_index}"
        )
    if find_spec("statsmodels") is None:
        raise ConfigError(
            "compare needs statsmodels, which is not installed: pip install 'annotator3d[compare]'"
        )
