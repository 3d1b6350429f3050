"""A run: a config and a work directory, from training to the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from annotator3d.annotation.review import Criteria
from annotator3d.annotation.session import LabelSession, SessionOptions
from annotator3d.api.config import Config
from annotator3d.api.labelling import open_session
from annotator3d.api.network import Predictor, init_model
from annotator3d.api.results import Evaluation, RunResult, read_result
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.rounds.select_only import RoundResult
from annotator3d.engine.rounds.stream import StreamResult
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter


class Run:
    """A run on disk. `from_config` begins one, `open` goes on with one; nothing is written before
    `train` or `select` is called.

    Attributes:
        config: the checked config, a `RunConfig`.
        work_dir: holds ledger, checkpoints, metrics and report.
        data_root: where the target's scans are; None: where the config says.
    """

    def __init__(
        self, config: RunConfig, work_dir: str | Path, data_root: str | Path | None = None
    ) -> None:
        self.config, self.work_dir = config, Path(work_dir)
        self._folder = WorkDir(work_dir)
        self.data_root = None if data_root is None else str(data_root)

    @classmethod
    def from_config(
        cls,
        config: str | Path | RunConfig,
        work_dir: str | Path,
        *,
        data_root: str | Path | None = None,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> Run:
        """Make a run of a config.

        Args:
            config: a name such as ``"al/streets_demo"``, a file, or a `RunConfig`.
            work_dir: new, or that of the same run, to go on with it.
            data_root: root of the target's scans, where the config names none.
            cfg_options: see `Config.fromfile`; not with a `RunConfig`.

        Raises ConfigError: see `Config.fromfile`.
        """
        if isinstance(config, RunConfig):
            if cfg_options:
                raise ConfigError("cfg_options go with the name of a config; change the RunConfig")
            return cls(config, work_dir, data_root)
        return cls(Config.fromfile(config, cfg_options), work_dir, data_root)

    @classmethod
    def open(cls, work_dir: str | Path, *, data_root: str | Path | None = None) -> Run:
        """Open the run in a work directory.

        Args:
            data_root: where the target's scans are now; None: where its last start found them.

        Raises:
            FileNotFoundError: no such folder.
            ConfigError: the folder has no config, or one that names Python code that nobody has
                said yes to (`Config.trust`).
        """
        folder = WorkDir(work_dir)
        if not folder.path.is_dir():
            raise FileNotFoundError(f"there is no work directory {folder}")
        if not folder.config_path.is_file():
            raise ConfigError(f"{folder} holds no config.yaml; name its config to Run.from_config")
        config = folder.config(network=True)
        return cls(config, folder.path, data_root or folder.moved_data_root(config))

    def train(self, *, resume: bool = False, reporter: Reporter | None = None) -> RunResult:
        """Train to the last epoch, selecting and answering rounds on the way.

        Args:
            resume: go on with what the work directory holds.
            reporter: gets the progress; None: silent.

        Raises:
            ConfigError, ValueError, FileNotFoundError: config or data are wrong or missing.
            WaitingForOracleError: a round waits for a person: answer it in `session`, then train
                with ``resume=True``.
            RunStoppedError: SIGTERM or Ctrl-C came; train with ``resume=True`` to go on.
        """
        from annotator3d.engine.run import train

        train(
            self.config,
            self._folder,
            resume=resume,
            data_root=self.data_root,
            reporter=reporter,
        )
        return read_result(self.work_dir)

    def select(
        self,
        predictions: str | Path | None = None,
        checkpoint: str | Path | None = None,
        *,
        prediction_kind: str | None = None,
    ) -> RoundResult:
        """Select one round without training, for a network of your own; writes the ledger.

        Args:
            predictions: folder of logits, classes or scores of points (docs/strategies.md).
            checkpoint: weights of the config's network, instead. Strategy 'random' needs neither.
            prediction_kind: what the ``.npy`` files of `predictions` hold: 'logits',
                'probabilities', 'scores', 'train_ids' or 'raw_ids'; None: what they look like.

        Raises ConfigError for both or neither, if the work directory belongs to a training, or if
        it is not clear what the files hold.
        """
        from annotator3d.engine.rounds.select_only import select_only

        return select_only(
            self.config,
            self._folder,
            checkpoint=_text(checkpoint),
            predictions=_text(predictions),
            prediction_kind=prediction_kind,
            data_root=self.data_root,
        )

    def select_stream(
        self,
        paths: Iterable[str] | None = None,
        checkpoint: str | Path | None = None,
        *,
        predictions: str | Path | None = None,
        prediction_kind: str | None = None,
        idle: float | None = None,
    ) -> StreamResult:
        """Ask about voxels of scans as they arrive, at most ``active.queries_per_hour`` an hour.

        Args:
            paths: names the scans one by one, by path or id; None: the folder of ``data.train`` is
                watched.
            checkpoint, predictions, prediction_kind: as for `select`.
            idle: end after so many seconds without a new scan in the folder; None: never.

        Raises ConfigError for a strategy or a limit that needs more than one scan at a time.
        """
        from annotator3d.engine.rounds.select_stream import select_stream

        return select_stream(
            self.config,
            self._folder,
            checkpoint=_text(checkpoint),
            predictions=_text(predictions),
            prediction_kind=prediction_kind,
            data_root=self.data_root,
            paths=paths,
            idle=idle,
        )

    def evaluate(self, checkpoint: str | Path | None = None) -> Evaluation:
        """IoU on every raw point of ``data.val``.

        Args:
            checkpoint: weights; None: the newest of the work directory.

        Raises FileNotFoundError if there is none, ValueError for one of another network.
        """
        from annotator3d.engine.evaluation import evaluate_checkpoint

        path = str(checkpoint or self._newest())
        found = evaluate_checkpoint(self.config, path, self.data_root, Reporter())
        return Evaluation.of(found)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report of the run, one HTML file; returns its path.

        Args:
            path: default: ``report.html`` in the work directory.

        Raises FileNotFoundError if nothing was trained yet.
        """
        from annotator3d.analysis.report.run import report_run

        return report_run(self._folder, Path(path or self.work_dir / "report.html"), Reporter())

    @cached_property
    def pool(self) -> ScanDataset:
        """The scans that may be asked about (``data.train``), with labels where there are any.

        Raises ConfigError or FileNotFoundError if there are no scans.
        """
        return self._dataset("train")

    @cached_property
    def val(self) -> ScanDataset:
        """The scans that are evaluated on (``data.val``)."""
        return self._dataset("val")

    @cached_property
    def source(self) -> ScanDataset:
        """The labelled scans of the source domain (``data.source``)."""
        return self._dataset("source")

    def ledger(self, write: bool = False) -> Ledger:
        """The ledger, a context manager; for reading only unless `write`.

        Raises FileNotFoundError if nothing was asked yet.
        """
        return self._folder.ledger(write)

    def session(
        self,
        annotator: str | None = None,
        review: Criteria | None = None,
        options: SessionOptions | None = None,
    ) -> LabelSession:
        """A labelling session on this run's queries, a context manager; see `open_session`."""
        return open_session(
            self.work_dir,
            annotator=annotator,
            review=review,
            options=options,
            data_root=self.data_root,
        )

    def model(self, checkpoint: str | Path | None = None) -> Predictor:
        """The trained network; see `init_model`.

        Args:
            checkpoint: weights; None: the newest of the work directory.

        Raises FileNotFoundError if there is none.
        """
        return init_model(self.config, checkpoint or self._newest(), self.config.device)

    def _dataset(self, name: str) -> ScanDataset:
        from annotator3d.engine.datasets import open_dataset

        root = None if name == "source" else self.data_root
        known = self._folder.known_scans() if name == "train" else []
        return open_dataset(self.config, name, root, Reporter(), False, known)

    def _newest(self) -> Path:
        from annotator3d.engine.training.checkpoints import newest_whole

        return newest_whole(self._folder.checkpoints)


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
