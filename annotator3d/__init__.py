"""annotator3d: label LiDAR scans by asking an oracle about a few confused voxels per scan.

Public names, loaded when they are first used, so that importing the package imports nothing heavy;
docs/python.md lists them with examples::

    import annotator3d as a3d

    picks = a3d.VoxelConfusion().query(xyz, logits, batch_size=5)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for editors and type checkers, which cannot follow __getattr__
    from annotator3d.active.noisy_oracle import NoisyOracle
    from annotator3d.active.oracle import GroundTruthOracle, HumanOracle, Oracle
    from annotator3d.active.strategies import (
        QueryStrategy,
        RandomSampling,
        VoxelConfusion,
        VoxelEntropy,
        VoxelMargin,
    )
    from annotator3d.annotation.review import Criteria
    from annotator3d.annotation.session import LabelSession, SessionOptions
    from annotator3d.api.config import Config
    from annotator3d.api.data import open_dataset
    from annotator3d.api.labelling import open_session
    from annotator3d.api.network import Predictor, init_model
    from annotator3d.api.people import agreement, cohen_kappa
    from annotator3d.api.plots import Picture, compare_runs, plot_budget_curves, plot_scan
    from annotator3d.api.results import Evaluation, RunResult
    from annotator3d.api.run import Run
    from annotator3d.api.stills import render
    from annotator3d.data.datasets.base import ScanDataset
    from annotator3d.data.datasets.imported import ImportedScans
    from annotator3d.data.datasets.nuscenes import NuScenes
    from annotator3d.data.datasets.sequences import SemanticKITTI, SemanticPOSS
    from annotator3d.data.datasets.simulated import SimulatedStreets
    from annotator3d.data.datasets.synlidar import SynLiDAR
    from annotator3d.data.scan import Scan
    from annotator3d.data.taxonomy import Taxonomy, load_taxonomy
    from annotator3d.engine.config.schema import RunConfig
    from annotator3d.engine.rounds.hook import WaitingForOracleError
    from annotator3d.engine.rounds.select_only import RoundResult
    from annotator3d.engine.rounds.stream import StreamResult
    from annotator3d.errors import ConfigError
    from annotator3d.kernels.selection import VoxelPick
    from annotator3d.ledger.ledger import Ledger
    from annotator3d.ledger.records import Answer, Query

_MODULES = {
    "active.noisy_oracle": ("NoisyOracle",),
    "active.oracle": ("GroundTruthOracle", "HumanOracle", "Oracle"),
    "active.strategies": (
        "QueryStrategy",
        "RandomSampling",
        "VoxelConfusion",
        "VoxelEntropy",
        "VoxelMargin",
    ),
    "annotation.review": ("Criteria",),
    "annotation.session": ("LabelSession", "SessionOptions"),
    "api.config": ("Config",),
    "api.data": ("open_dataset",),
    "api.labelling": ("open_session",),
    "api.network": ("Predictor", "init_model"),
    "api.people": ("agreement", "cohen_kappa"),
    "api.plots": ("Picture", "compare_runs", "plot_budget_curves", "plot_scan"),
    "api.results": ("Evaluation", "RunResult"),
    "api.run": ("Run",),
    "api.stills": ("render",),
    "data.datasets.base": ("ScanDataset",),
    "data.datasets.imported": ("ImportedScans",),
    "data.datasets.nuscenes": ("NuScenes",),
    "data.datasets.sequences": ("SemanticKITTI", "SemanticPOSS"),
    "data.datasets.simulated": ("SimulatedStreets",),
    "data.datasets.synlidar": ("SynLiDAR",),
    "data.scan": ("Scan",),
    "data.taxonomy": ("Taxonomy", "load_taxonomy"),
    "engine.config.schema": ("RunConfig",),
    "engine.rounds.hook": ("WaitingForOracleError",),
    "engine.rounds.select_only": ("RoundResult",),
    "engine.rounds.stream": ("StreamResult",),
    "errors": ("ConfigError",),
    "kernels.selection": ("VoxelPick",),
    "ledger.ledger": ("Ledger",),
    "ledger.records": ("Answer", "Query"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
