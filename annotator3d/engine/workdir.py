"""What a work directory says of its run: the config, and where its datasets were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.errors import ConfigError
from annotator3d.registry import DATASETS, lookup

_CARD_NAMES = {"train": "pool", "val": "val", "source": "source"}  # as the run card calls them


def config_of(work_dir: Path, name: str | None = None, settings: Sequence[str] = ()) -> RunConfig:
    """The config that was kept with a run, or another one by its file or name.

    Raises:
        ConfigError: there is none, or `load_config` refuses it.
    """
    path = work_dir / "config.yaml" if name is None else find_config(name)
    if not path.is_file():
        raise ConfigError(f"{work_dir} holds no config.yaml; name the config with --config")
    return load_config(path, settings)


def card_of(work_dir: Path) -> dict:
    """The run card; empty where no training wrote one."""
    path = work_dir / "run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def root_of(card: dict, split: str) -> str | None:
    """Where a run read its ``data.SPLIT``; None: its config says, or the dataset makes itself."""
    values = card.get("config", {}).get("data", {}).get(split)
    if values is None or lookup(DATASETS, values["type"]).makes_itself:
        return None
    return card["data"].get(_CARD_NAMES[split], {}).get("root")


def moved_root(config: RunConfig, card: dict) -> str | None:
    """What ``--data-root`` has to say for a run to find its scans where its last start did.

    None where the config says it.
    """
    for split in ("train", "val"):
        values, last = getattr(config.data, split), root_of(card, split) if card else None
        if values is None or last is None:
            continue
        if "root" not in values or Path(values["root"]).absolute() != Path(last):
            return last
    return None
