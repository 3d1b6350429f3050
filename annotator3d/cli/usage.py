"""What is wrong with a command line is said at once: before torch is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator3d.data.files import require_folder
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.engine.config.schema import RunConfig

MAKE_THEMSELVES = ("SimulatedStreets",)  # data sets without a root; tests compare with the registry


def check_usage(
    args: argparse.Namespace, settings: Sequence[str], path: Path, splits: Sequence[str] | None
) -> None:
    """Refuse what can be seen of a command line and its config without the engine.

    Args:
        settings: ``key=value``, over the config in `path`.
        splits: the data sets that the command reads; None: those of a training.

    Raises:
        ConfigError: an unknown key, a wrong value, no source checkpoint, no place of the data.
        FileNotFoundError: a file or folder that is named is not there.
    """
    from annotator3d.engine.config.load import quick_look
    from annotator3d.engine.workdir import WorkDir

    root = getattr(args, "data_root", None)
    if root is not None:
        require_folder(root, "--data-root")
    checkpoint = getattr(args, "checkpoint", None)
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise FileNotFoundError(f"no checkpoint {checkpoint}")
    config = quick_look(path, settings)
    if config is None:  # it takes Python to read it
        return
    continues = getattr(args, "resume", False)
    if splits is None:
        splits = _trained_on(config)
        if not continues:
            _check_init(config)
    knows_root = continues or WorkDir(path.parent).run_info_path.is_file()
    for split in splits:
        target_root = root if split != "source" else None
        _check_root(f"data.{split}", getattr(config.data, split), target_root, knows_root)


def _trained_on(config: RunConfig) -> list[str]:
    """The data sets that a training reads."""
    needed = ["train"] if config.setting != "source_only" else []
    return needed + (["source"] if config.setting in ("source_only", "ada") else [])


def _check_init(config: RunConfig) -> None:
    if config.init is None:
        if config.setting in ("asfda", "ada"):
            raise ConfigError(
                f"init: {config.setting} starts from a source checkpoint and none is given; train "
                "one with a source_only config and pass --init WORK_DIR/checkpoints/epoch_N.pth"
            )
    elif config.setting != "al" and not Path(config.init).is_file():
        raise FileNotFoundError(f"no checkpoint {config.init}")


def _check_root(key: str, values: dict[str, Any] | None, root: str | None, known: bool) -> None:
    """A data set of ours has a root somewhere; of what others have registered nothing is known."""
    if values is None or root is not None or known or "root" in values:
        return
    if values.get("type") in MAKE_THEMSELVES or "type" not in values:
        return
    way = "Set" if key == "data.source" else "Pass --data-root DIR or set"
    raise ConfigError(f"{key}: where is the dataset? {way} {key}.root")
