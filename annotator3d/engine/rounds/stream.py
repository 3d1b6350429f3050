"""Selection over a stream of scans that arrive while a robot drives, with a budget per hour.

An hour of the stream (`active.scans_per_hour` scans) is a round of the ledger with room for
`active.queries_per_hour` voxels. Each scan is seen once and is decided about at once, by
`active.pacing`. What was decided is a line of ``rounds/N/stream.jsonl``; after a kill the stream
goes on behind the last line with the same picks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from annotator3d.active.draws import uniform
from annotator3d.active.label_points import with_label_points
from annotator3d.active.pacing import Pacer
from annotator3d.active.selector import ScanSelection
from annotator3d.data.files import fingerprint, make_folder
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.rounds.arrivals import Arrival
from annotator3d.engine.rounds.plan import RoundPlan, Scorer, strategy_of
from annotator3d.engine.rounds.select_round import select_in
from annotator3d.errors import ConfigError, count
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.reporter import Reporter


@dataclass
class StreamResult:
    """What a stream has come to so far, this call and earlier ones."""

    scans: int = 0
    voxels: int = 0
    passed_over: int = 0  # scans that had been decided about before, or that came too late
    unreadable: int = 0


class Stream:
    """A stream that writes into a ledger.

    Args:
        plan: of the stream's first round; later ones count on.
        folder: ``rounds/`` of the work directory.

    Raises ConfigError for a config that needs more than one scan at a time, and ValueError for a
    stream that was begun with other settings.
    """

    def __init__(
        self,
        ledger: Ledger,
        plan: RoundPlan,
        active: ActiveConfig,
        scorer: Scorer,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        check_stream(plan, active)
        self.ledger, self.active, self.scorer = ledger, active, scorer
        self.folder, self.reporter = Path(folder), reporter
        self.pacer = Pacer(active.queries_per_hour, active.scans_per_hour, active.queries_per_scan)
        self.plan, self.total = plan, StreamResult()
        self._last: dict[str, str] = {}  # sequence -> the last scan decided about
        self._resume()

    def run(self, arrivals: Iterable[Arrival]) -> StreamResult:
        """Decide about every scan that arrives.

        One that does not come after the last one of its sequence is passed over: it was decided
        about before, or came too late.
        """
        for pool, index in arrivals:
            sequence, scan_id = pool.ids[index].rsplit("/", 1)[0], pool.ids[index]
            if scan_id <= self._last.get(sequence, ""):
                self.total.passed_over += 1
                continue
            self._last[sequence] = scan_id
            self._decide(pool, index)
        return self.total

    def leave_out(self, why: str) -> None:
        """Say that a scan is left out, and count it."""
        self.total.unreadable += 1
        self.reporter.info(f"warning: left out: {why}")

    def _decide(self, pool, index: int) -> None:
        if self.pacer.hour_is_over:
            self._begin(self.plan.number + 1)
        scan_id = pool.ids[index]
        try:
            scan = pool.read(index, labels=False)
        except (OSError, ValueError) as error:  # a stream goes on
            self.leave_out(str(error))
            return
        asked = {scan_id: self.ledger.queried_cells(scan_id, self.plan.number)}
        chosen = select_in(scan, self.scorer(scan), self.plan, self.active, asked)
        offers = self._offers(scan_id, chosen)
        picks = chosen.picks[: self.pacer.decide(offers)]
        held = [query.cell for query in self.ledger.queries(self.plan.number, scan_id)]
        if held:  # the process ended before it noted them
            assert held == [pick.cell for pick in picks], "a decision depends on the offers alone"
        elif picks:
            record = ScanRecord(scan_id, fingerprint(pool.path(index)), scan.num_raw)
            self.ledger.register_scans([record])
            number, seed = self.active.num_label_points, self.plan.seed
            asking = [with_label_points(pick, number, seed, scan_id) for pick in picks]
            self.ledger.fill_round(self.plan.number, {scan_id: asking})
        self._log({"scan": scan_id, "offers": offers, "asked": len(picks)})
        self.total.scans += 1
        self.total.voxels += len(picks)
        if picks:
            self.reporter.info(
                f"round {self.plan.number}: {count(len(picks), 'voxel')} of {scan_id}; "
                f"{count(self.total.voxels, 'voxel')} in {count(self.total.scans, 'scan')} so far"
            )

    def _offers(self, scan_id: str, chosen: ScanSelection) -> list[tuple[float, float]]:
        cells = torch.tensor([pick.cell for pick in chosen.picks], dtype=torch.int32).reshape(-1, 3)
        drawn = uniform(cells, self.plan.seed, scan_id, "stream").tolist()
        return [(pick.utility, chance) for pick, chance in zip(chosen.picks, drawn, strict=True)]

    def _begin(self, number: int) -> None:
        """The round of the next hour."""
        self.plan = replace(self.plan, number=number, rounds=number)
        self.pacer.begin_hour()
        make_folder(self._path(number).parent)
        if not self._path(number).exists():  # before the ledger: by this a round is a stream's
            self._log({"settings": self._settings})
        if number > len(self.ledger.rounds()):
            self.ledger.add_round(
                number,
                self.plan.strategy,
                self.plan.seed,
                budget=self.active.queries_per_scan,
                max_queries=self.active.queries_per_hour,
                epoch=self.plan.epoch,
                source=self.plan.source,
                queries={},
                planned=self.active.queries_per_hour,
                decision=(
                    f"an hour of a stream: {count(self.active.scans_per_hour, 'scan')}, at most "
                    f"{count(self.active.queries_per_hour, 'voxel')}"
                ),
            )

    def _resume(self) -> None:
        """Take up what earlier calls decided; behind another round a new hour begins."""
        rounds = self.ledger.rounds()
        numbers = [entry.number for entry in rounds if self._path(entry.number).exists()]
        for number in numbers:
            self.plan = replace(self.plan, number=number, rounds=number)
            self.pacer.begin_hour()
            for line in _lines(self._path(number)):
                if "settings" in line:
                    self._require_same(number, line["settings"])
                    continue
                self.pacer.replay(line["offers"], line["asked"])
                self._last[line["scan"].rsplit("/", 1)[0]] = line["scan"]
                self.total.scans += 1
                self.total.voxels += line["asked"]
        if not numbers or numbers[-1] != len(rounds):
            self._begin(len(rounds) + 1)

    @property
    def _settings(self) -> dict[str, Any]:
        """What decides about a scan."""
        names = ("strategy", "queries_per_scan", "queries_per_hour", "scans_per_hour")
        names += ("voxel_size", "max_range", "min_points", "label_points")
        found = {f"active.{name}": getattr(self.active, name) for name in names}
        return {**found, "seed": self.plan.seed, "the network": self.plan.source}

    def _require_same(self, number: int, before: dict[str, Any]) -> None:
        """Raise ValueError if a stream was begun with other settings."""
        now = parse_json(json.dumps(self._settings))
        if others := [name for name in now if before.get(name) != now[name]]:
            raise ValueError(
                f"{self.ledger.path}: the stream of round {number} was begun with another "
                f"{' and '.join(others)}; continue with the same, or choose another --work-dir"
            )

    def _path(self, number: int) -> Path:
        return self.folder / str(number) / "stream.jsonl"

    def _log(self, entry: dict) -> None:
        with open(self._path(self.plan.number), "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())


def check_stream(plan: RoundPlan, active: ActiveConfig) -> None:
    """Refuse what a stream cannot do, in words."""
    strategy = strategy_of(plan, active)
    if active.queries_per_hour is None:
        raise ConfigError(
            "active.queries_per_hour: a stream needs a budget; --set active.queries_per_hour=60"
        )
    if strategy.asks_for_more:
        raise ConfigError(
            f"active.strategy: {strategy.name} compares scans or needs more than logits; a stream "
            "shows one scan after the other: choose random, vcd, entropy, margin or another one "
            "that scores a scan by itself"
        )
    for key in ("max_queries", "budget_hours", "spacing", "class_quota", "stride"):
        if getattr(active, key) != getattr(ActiveConfig(), key):
            raise ConfigError(
                f"active.{key}: a stream decides about each scan when it arrives and cannot choose "
                "among those of a round; leave the key out"
            )


def _lines(path: Path) -> Iterator[dict]:
    """Whole lines; the last one may have been cut short by a kill, and is taken off the file."""
    whole = 0
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            yield parse_json(line.decode())
    if whole < path.stat().st_size:
        os.truncate(path, whole)
