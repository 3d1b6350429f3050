"""Runs an experiment into a folder, resumably, and reports it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from annotator3d.analysis.compare.archive import (
    EXPERIMENT,
    FILE,
    Archive,
    is_finished,
    take_pairs,
    write_archive,
)
from annotator3d.analysis.compare.findings import undecided
from annotator3d.analysis.compare.paired import pairs_needed
from annotator3d.analysis.compare.plan import RUNS, Plan, PlannedRun, load_plan, tests_of
from annotator3d.analysis.compare.progress import TimeLeft
from annotator3d.analysis.compare.report import write_comparison
from annotator3d.analysis.compare.results import read_results
from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.experiment import difference, read_experiment
from annotator3d.engine.jobs import run_jobs
from annotator3d.errors import ConfigError, count
from annotator3d.registry import DATASETS, lookup
from annotator3d.reporter import Reporter

AMENDMENTS, FAILURES = "amendments.json", "failures"


class ExperimentFolder:
    """The folder of an experiment: its file, its runs, what failed, its results and its report.

    Args:
        file: the experiment file.
        out: the folder, which need not exist yet.
        data_root: root of the target and validation scans, where a config has none.
        say_yes: trust the Python code that the configs name.

    Raises ConfigError as `load_plan`.
    """

    def __init__(
        self, file: Path, out: Path, *, data_root: str | None = None, say_yes: bool = False
    ) -> None:
        self.file, self.out = file, out
        self.plan: Plan = load_plan(file, out, data_root=data_root, say_yes=say_yes)

    def keep_file(self, *, amend: bool = False) -> None:
        """Keep the experiment file beside its runs; the first one is what the runs were planned by.

        Args:
            amend: take a changed file. That it was changed, and after how many runs, is kept, too.

        Raises:
            ConfigError: the file has changed since a run was begun, and `amend` is False.
        """
        make_folder(self.out)
        kept = self.out / EXPERIMENT
        text = self.file.read_bytes()
        if kept.exists():
            keys = difference(read_experiment(kept), self.plan.experiment)
            if not keys:
                return
            begun = (self.out / RUNS).exists()
            if begun and not amend:
                raise ConfigError(
                    f"{self.file} is not the file that {self.out} was begun with: other "
                    f"{', '.join(keys)}. Comparisons are planned before the runs: choose another "
                    f"--out, or pass --amend, which the report will say; the first file is {kept}"
                )
            if begun:
                self._note_amendment(keys)
        with atomic_write(kept) as file:
            file.write(text)

    def continue_from(self, path: Path, reporter: Reporter) -> None:
        """Take the whole pairs of an archive of this experiment as run.

        Raises ConfigError for an archive of another experiment, ValueError as `take_pairs`.
        """
        with Archive(path) as archive:
            if keys := difference(archive.experiment, self.plan.experiment):
                raise ConfigError(
                    f"{path} is of another experiment than {self.file}: other {', '.join(keys)}"
                )
            seeds, runs = take_pairs(archive, self.plan)
        reporter.info(f"{path}: {count(len(seeds), 'whole pair')}, {count(runs, 'run')} taken")

    def run(
        self, reporter: Reporter, workers: int | None = None, share: tuple[int, int] = (0, 1)
    ) -> None:
        """Train what has not ended yet, pair by pair; a run that fails does not stop the others.

        Args:
            workers: runs side by side; None: one for each core.
            share: (index, count): run this part of the runs only, and what they start from.

        Raises:
            ConfigError: a share of a sequential experiment, which needs all runs of a look; or
                nothing says where the scans of a run are.
        """
        if share[1] > 1 and self.plan.experiment.sequential is not None:
            raise ConfigError(
                "--task-count: a sequential experiment decides after each look what to run next; "
                "run it in one process, or plan a fixed number of pairs"
            )
        self._check_roots()
        self._make_scans(reporter)
        for batch in self._batches(reporter):
            chosen = [run for i, run in enumerate(batch) if i % share[1] == share[0]]
            chosen = [run for run in chosen if not is_finished(run)]
            jobs, left = self.plan.jobs(chosen), TimeLeft(self.plan, chosen, workers)
            run_jobs(jobs, reporter, workers, self._change(reporter, left), self._fail(reporter))

    def failures(self) -> dict[str, str]:
        """Name of a run -> why it failed, of those that have not ended since."""
        found = {}
        for run in self.plan.runs:
            path = self._failure_of(run.name)
            if path.is_file() and not is_finished(run):
                found[run.name] = path.read_text(encoding="utf-8")
        return found

    def gather(self, reporter: Reporter) -> Path:
        """Write ``results.zip`` of what has ended; returns its path."""
        path = self.out / FILE
        text = (self.out / EXPERIMENT).read_bytes()
        write_archive(path, self.plan, text, self.failures(), self._amendments(), reporter)
        return path

    def report(self, reporter: Reporter) -> Path:
        """Write ``results.zip`` and the report of it; returns the path of ``report.html``.

        Raises ValueError: no run has ended; nothing is written then.
        """
        if not any(map(is_finished, self.plan.runs)):
            raise ValueError(f"{self.out}: no run has ended yet, so there is nothing to report")
        return write_comparison(self.gather(reporter), self.out)

    def warn(self, reporter: Reporter) -> None:
        """Say before the runs what they cannot show."""
        experiment, seeds = self.plan.experiment, self.plan.seeds
        tests = tests_of(experiment, self.plan.compared)
        needed = pairs_needed(tests, experiment.test)
        reporter.info(
            f"{experiment.name}: {count(len(self.plan.runs), 'run')}, {count(len(seeds), 'pair')}, "
            f"{count(tests, 'comparison')}"
        )
        limited = experiment.test == "sign-flip" and experiment.sequential is None
        if limited and tests and len(seeds) < needed:
            reporter.info(
                f"pairs: {len(seeds)} cannot show any of {count(tests, 'comparison')} by the "
                f"{experiment.test} test at 5 %; with {needed} it can"
            )

    def _batches(self, reporter: Reporter) -> Iterator[Sequence[PlannedRun]]:
        """The runs that nothing starts from: all at once, or look by look."""
        starts = {run.job.starts_from for run in self.plan.runs}
        ends = [run for run in self.plan.runs if run.name not in starts]
        sequential = self.plan.experiment.sequential
        if sequential is None:
            yield ends
            return
        seeds, compared = self.plan.seeds, self.plan.experiment.compared
        on = {(run.task, run.arm) for run in ends if any(run.arm in pair for pair in compared)}
        for look in range(1, sequential.looks + 1):
            group = seeds[(look - 1) * sequential.group : look * sequential.group]
            yield [r for r in ends if r.seed in group and (r.arm is None or (r.task, r.arm) in on)]
            if look < sequential.looks:
                results = read_results(self.gather(reporter))
                on &= undecided(results)
                reporter.info(f"look {look} of {sequential.looks}: {_decided(on)}")
            if not on:
                break
        yield [run for run in ends if run.seed not in seeds]  # of the calibration

    def _check_roots(self) -> None:
        """All runs would fail where no root is given: better here, and once."""
        for run in (run for run in self.plan.runs if not is_finished(run)):
            job = run.job
            for split in ("train", "val"):
                values = getattr(job.config.data, split)
                if (
                    values is None
                    or "root" in values
                    or lookup(DATASETS, values["type"]).makes_itself
                ):
                    continue
                if job.data_root is None and job.work_dir.known_data_root(job.config) is None:
                    raise ConfigError(
                        f"tasks.{run.task}: where are the scans of data.{split}? Pass --data-root "
                        f"DIR, or set data.{split}.root in the experiment file"
                    )

    def _make_scans(self, reporter: Reporter) -> None:
        """Data sets that make their scans do so here, once, before runs ask for them at once."""
        tables = {}
        for run in self.plan.runs:
            for split in ("source", "train", "val"):
                values = getattr(run.job.config.data, split)
                if values is not None and lookup(DATASETS, values["type"]).makes_itself:
                    tables[json.dumps(values, sort_keys=True)] = (values, f"data.{split}")
        for values, key in tables.values():
            try:
                build_dataset(values, key, progress=reporter.progress)
            except (ValueError, OSError):
                continue  # its runs will say so

    def _change(self, reporter: Reporter, left: TimeLeft) -> Callable[[str, str], None]:
        begun = set()  # here; what had ended before is no news

        def change(name: str, state: str) -> None:
            if state == "running":
                self._failure_of(name).unlink(missing_ok=True)
                begun.add(name)
            else:
                words = left.ended(name)
                if name in begun:
                    reporter.info(words)

        return change

    def _fail(self, reporter: Reporter) -> Callable[[str, str], None]:
        def failed(name: str, why: str) -> None:
            reporter.info(f"{name} failed: {why}")
            path = self._failure_of(name)
            make_folder(path.parent)
            with atomic_write(path) as file:
                file.write(why.encode())

        return failed

    def _failure_of(self, name: str) -> Path:
        return self.out / FAILURES / f"{name}.txt"

    def _amendments(self) -> list[dict]:
        path = self.out / AMENDMENTS
        return parse_json(path.read_bytes()) if path.exists() else []

    def _note_amendment(self, keys: list[str]) -> None:
        at = datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="seconds")
        ended = sum(is_finished(run) for run in self.plan.runs)
        before = self.out / f"experiment-before-{len(self._amendments()) + 1}.yaml"
        shutil.copyfile(self.out / EXPERIMENT, before)
        entries = [*self._amendments(), {"at": at, "ended": ended, "keys": keys}]
        with atomic_write(self.out / AMENDMENTS) as file:
            file.write(json.dumps(entries, indent=1).encode())


def _decided(on: set[tuple[str, str]]) -> str:
    if not on:
        return "every comparison is decided"
    return f"{count(len(on), 'arm')} go on: " + ", ".join("/".join(each) for each in sorted(on))
