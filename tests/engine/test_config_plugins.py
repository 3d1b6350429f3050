"""One file in its folder is all that a new strategy, oracle, data set, backbone or recipe needs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from annotator3d.engine.config.load import make_config
from annotator3d.errors import ConfigError
from annotator3d.registry import BACKBONES, DATASETS, MIXES, ORACLES, STRATEGIES, lookup

STRATEGY = """
from annotator3d.active.strategies import STRATEGIES, QueryStrategy

@STRATEGIES.register_module("dropped")
class Dropped(QueryStrategy):
    name = "dropped"
"""
ORACLE = """
from annotator3d.errors import ConfigError
from annotator3d.registry import ORACLES

@ORACLES.register_module("dropped")
class Dropped:
    automatic = True

    def __init__(self, rate=0.5, class_names=None):
        pass

    @staticmethod
    def check_config(keywords):
        if keywords.get("rate", 0) > 1:
            raise ConfigError(f"rate: expected at most 1, got {keywords['rate']}")
"""
DATASET = """
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.registry import DATASETS

@DATASETS.register_module("dropped")
class Dropped(ScanDataset):
    def __init__(self, root, sweep=1):
        pass
"""
BACKBONE = """
from torch import nn
from annotator3d.registry import BACKBONES

@BACKBONES.register_module("dropped")
class Dropped(nn.Module):
    out_channels = 8
"""
MIX = """
from annotator3d.data.mixing.recipe import MixRecipe
from annotator3d.registry import MIXES

@MIXES.register_module("dropped")
class Dropped(MixRecipe):
    def __init__(self, often=1, probability=1.0):
        super().__init__(probability=probability)

    def pieces(self, own, other, random):
        return []
"""
PLUGINS = {
    "strategy": (
        STRATEGIES,
        "annotator3d.active.strategies",
        STRATEGY,
        {"active": {"strategy": "dropped"}},
    ),
    "oracle": (ORACLES, "annotator3d.active", ORACLE, {"active": {"oracle": "dropped"}}),
    "dataset": (
        DATASETS,
        "annotator3d.data.datasets",
        DATASET,
        {"data": {"train": {"type": "dropped", "sweep": 2}}},
    ),
    "backbone": (
        BACKBONES,
        "annotator3d.models",
        BACKBONE,
        {"model": {"backbone": {"type": "dropped"}}},
    ),
    "mix": (
        MIXES,
        "annotator3d.data.mixing",
        MIX,
        {"training": {"mix": {"type": "dropped", "often": 2}}},
    ),
}


@pytest.fixture
def drop(tmp_path, monkeypatch):
    """Put a file into the folder of a registry; registry and folder are as before afterwards."""
    undo = []

    def dropped(kind: str) -> None:
        registry, package, text, _ = PLUGINS[kind]
        folder, known = importlib.import_module(package), dict(registry.module_dict)
        place = tmp_path / kind
        place.mkdir()
        (place / "dropped_here.py").write_text(text)
        monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(place)])
        undo.append((registry, known, folder))

    yield dropped
    for registry, known, folder in undo:
        registry.module_dict.clear()
        registry.module_dict.update(known)
        sys.modules.pop(f"{folder.__name__}.dropped_here", None)
        vars(folder).pop("dropped_here", None)


@pytest.mark.parametrize("kind", PLUGINS)
def test_a_file_in_the_folder_is_a_name_that_a_config_can_use(kind, drop):
    registry, _, _, values = PLUGINS[kind]
    with pytest.raises(ConfigError, match=f"unknown {kind} 'dropped'"):
        make_config(values)
    drop(kind)
    make_config(values)
    assert lookup(registry, "dropped").__name__ == "Dropped"


@pytest.mark.parametrize(("kind", "near"), [("strategy", "badge"), ("dataset", "SemanticKITTI")])
def test_an_unknown_name_is_told_all_names_in_the_folder(kind, near, drop):
    drop(kind)
    with pytest.raises(ConfigError, match=f"did you mean 'dropped'.* {near}"):
        lookup(PLUGINS[kind][0], "droped")


def test_an_oracle_checks_its_own_keywords_when_the_config_is_read(drop):
    drop("oracle")
    make_config({"active": {"oracle": {"type": "dropped", "rate": 1}}})
    for oracle, words in (
        ({"type": "dropped", "rate": 2}, "active.oracle.rate: expected at most 1, got 2"),
        ({"type": "dropped", "rat": 1}, "unknown key 'active.oracle.rat': did you mean 'rate'"),
        ({"type": "dropped", "class_names": []}, "active.oracle: class_names: they come from the"),
    ):
        with pytest.raises(ConfigError, match=words):
            make_config({"active": {"oracle": oracle}})


def test_looking_through_the_folders_imports_nothing_optional():
    program = (
        "import sys; from annotator3d import registry as r; r.fill(r.DATASETS); "
        "print('torch' in sys.modules); "
        "[r.fill(x) for x in (r.STRATEGIES, r.ORACLES, r.BACKBONES, r.MIXES)]; "
        "print(sorted({'spconv', 'cumm', 'open3d', 'matplotlib'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout == "False\n[]\n", run.stderr
