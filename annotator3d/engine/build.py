"""From a checked config to datasets, network and optimiser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from annotator3d.data.batch import InputRule
from annotator3d.data.mixing.recipe import MixRecipe, get_recipe
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.training.checkpoint_file import load_weights
from annotator3d.errors import ConfigError
from annotator3d.models.segmentor import Segmentor
from annotator3d.registry import BACKBONES, DATASETS, build, lookup


def build_dataset(
    config: dict | None,
    key: str,
    root: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
):
    """Open a registered dataset.

    Args:
        config: its keywords and its ``type``.
        key: the config's name, for messages.
        root: of ``--data-root``; wins over the config's.
        progress: told how far a dataset is that has to be made first.

    Raises:
        ValueError, FileNotFoundError: the config or the folder is not as it should be.
    """
    if config is None:
        raise ConfigError(f"{key}: this setting needs a dataset there, the config names none")
    config = dict(config)
    cls = lookup(DATASETS, config.get("type", ""))
    if root is not None:
        if cls.makes_itself:
            raise ConfigError(f"--data-root: {key} is {config['type']}, which makes its own scans")
        config["root"] = root
    if "root" not in config and not cls.makes_itself:
        way = "Set" if key == "data.source" else "Pass --data-root DIR or set"
        raise ConfigError(f"{key}: where is the dataset? {way} {key}.root")
    return build(DATASETS, config, **({"progress": progress} if cls.makes_itself else {}))


def input_rule(config: RunConfig, num_classes: int) -> InputRule:
    """How scans become the input of the config's network.

    Raises:
        ConfigError: the backbone does not take the values of its grid.
    """
    model = config.model
    projection = None
    if projection_for := getattr(lookup(BACKBONES, model.backbone["type"]), "projection_for", None):
        keywords = {name: value for name, value in model.backbone.items() if name != "type"}
        try:
            projection = projection_for(**keywords)
        except ValueError as error:
            raise ConfigError(f"model.backbone.{error}") from error
    return InputRule(num_classes, model.voxel_size, model.features, model.target_rule, projection)


def build_model(config: RunConfig, num_classes: int) -> Segmentor:
    """The network of a config, with random weights.

    Raises:
        ConfigError: the backbone does not take the values of the config, or has no memory for them.
    """
    model = config.model
    try:
        return Segmentor(
            model.backbone,
            num_classes,
            model.label_smoothing,
            model.lovasz,
            model.bn,
            model.ignored_output,
            config.training.negative,
            config.training.negative_threshold,
        )
    except ConfigError as error:
        raise ConfigError(f"model.backbone: {error}") from error
    except Exception as error:  # a backbone may be anybody's, and refuse a value in any way
        words = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"model.backbone: {model.backbone['type']} cannot be made with {model.backbone}: "
            f"{words[:200]}"
        ) from error


def build_mix(config: RunConfig, taxonomy: Taxonomy) -> MixRecipe:
    """The recipe by which training scans are mixed, for scans of these classes.

    Raises:
        ConfigError: it names a class that is unknown.
    """
    recipe = get_recipe(config.training.mix)
    recipe.prepare(taxonomy)
    return recipe


def pick_device(name: str) -> torch.device:
    """``auto`` takes CUDA where torch finds it.

    Raises:
        ConfigError: another word, or ``cuda`` was asked for and torch does not find it.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device: expected auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device: cuda was asked for, but torch finds no CUDA device; `annotator3d doctor` "
            "shows why, `--set device=cpu` trains on the CPU"
        )
    found = torch.cuda.is_available()
    return torch.device("cuda" if name == "cuda" or (name == "auto" and found) else "cpu")


def load_model(config: RunConfig, num_classes: int, weights: dict, path: str | Path) -> Segmentor:
    """The network of `config` with the `weights` read from `path`, on the config's device.

    Raises:
        ConfigError, ValueError: see `pick_device` and `load_weights`.
    """
    model = build_model(config, num_classes)
    load_weights(model, weights, path)
    return model.to(pick_device(config.device))
