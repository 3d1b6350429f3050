"""What a run writes down while it trains: loss, rate, memory and what was spent, line by line.

mmengine's visualisation backends do the writing, into ``logs/vis_data`` of the work directory:
``json`` and ``csv`` hold one line for each tenth step, ``tensorboard`` the same as curves.
"""

from __future__ import annotations

import csv
import io
import resource
import sys
from importlib.util import find_spec
from pathlib import Path

from annotator3d._mmengine import VISBACKENDS, BaseVisBackend, Hook
from annotator3d.data.files import atomic_write, make_folder
from annotator3d.errors import ConfigError
from annotator3d.ledger.effort import round_costs
from annotator3d.ledger.ledger import Ledger

BACKENDS = {
    "json": {"type": "LocalVisBackend"},
    "csv": {"type": "CsvVisBackend"},
    "tensorboard": {"type": "TensorboardVisBackend"},
}
FILE = Path("vis_data") / "scalars.csv"  # in the folder of the logs
EVERY = 10  # steps


def backends(names: list[str]) -> list[dict]:
    """Configs of mmengine's visualisation backends.

    Raises:
        ConfigError: tensorboard is asked for and not installed.
    """
    if "tensorboard" in names and find_spec("tensorboard") is None:
        raise ConfigError(
            "logs: tensorboard is not installed; pip install 'annotator3d[logs]', or leave it out"
        )
    return [dict(BACKENDS[name]) for name in names]  # mmengine writes into them


@VISBACKENDS.register_module()
class CsvVisBackend(BaseVisBackend):
    """One line for each step in ``scalars.csv``; what a line does not have stays empty.

    The lines of steps that a resumed run takes again are replaced.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._path = Path(save_dir) / FILE.name
        self._columns: list[str] = []

    @property
    def experiment(self) -> CsvVisBackend:
        return self

    def _init_env(self) -> None:
        """Nothing: the first line makes the file."""

    def add_scalar(self, name: str, value: float, step: int = 0, **kwargs) -> None:
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs
    ) -> None:
        line = {"step": int(scalar_dict.get("step", step))}
        line |= {name: _plain(value) for name, value in scalar_dict.items() if name != "step"}
        if not self._columns or line.keys() - set(self._columns):
            self._rewrite(line)
        with open(self._path, "a", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(line)

    def _rewrite(self, line: dict) -> None:
        """Make room for new columns, and at the start of a run for the steps from here on."""
        before = list(csv.DictReader(io.StringIO(_text(self._path))))
        if not self._columns:
            before = [old for old in before if not _replaced(old, line)]
        self._columns = list({**dict.fromkeys(k for old in before for k in old), **line})
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(before)
        make_folder(self._path.parent)
        with atomic_write(self._path) as file:
            file.write(text.getvalue().encode())


class SpentHook(Hook):
    """Puts beside each line of the log what was spent until then, scans a second and memory.

    Args:
        ledger: of an active run, open; None: there is nothing to spend.
        rounds_at: epochs of the rounds.
        processes: of the run.
    """

    priority = "LOW"  # after the round of an epoch was asked and answered

    def __init__(self, ledger: Ledger | None, rounds_at: list[int], processes: int) -> None:
        self.ledger, self.rounds_at, self.processes = ledger, rounds_at, processes
        self.spent: dict[str, float] = {}

    def before_train_epoch(self, runner) -> None:
        if self.ledger is None:
            return
        number = sum(at <= runner.epoch for at in self.rounds_at)
        meters = round_costs(self.ledger)[:number]
        labelled = sum(meter.labelled_points for meter in meters)
        points = sum(scan.num_points for scan in self.ledger.scans())
        self.spent = {
            "round": number,
            "voxels": sum(meter.voxels for meter in meters),
            "points": sum(meter.points for meter in meters),
            "labelled_percent": 100 * labelled / max(points, 1),
        }

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        hub = runner.message_hub
        scans = sum(len(part["ids"]) for part in data_batch.values()) * self.processes
        seconds = hub.get_scalar("train/time").mean(EVERY)
        values = {**self.spent, "scans_per_second": scans / max(seconds, 1e-9)}
        if runner.device.type != "cuda":  # there, mmengine tells the memory of the device
            values["memory"] = peak_memory()
        for name, value in values.items():
            hub.update_scalar(f"train/{name}", value)


def peak_memory() -> int:
    """The most memory that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)


def _replaced(old: dict[str, str], first: dict) -> bool:
    """Whether a line of an earlier start is written again after the first line of this one."""
    again = any(old.get(name) for name in first if name != "step")  # not only the same step
    step = int(old["step"])
    return step > first["step"] or (step == first["step"] and again)


def _plain(value) -> float:
    return value.item() if hasattr(value, "item") else value


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
