"""Rules for the levers of ``training``: what goes together with what."""

from __future__ import annotations

from annotator3d.data.mixing.recipe import get_recipe
from annotator3d.engine.config.keywords import check_keywords, check_named
from annotator3d.engine.config.schema import RunConfig
from annotator3d.errors import ConfigError, count
from annotator3d.registry import BACKBONES, MIXES, check, lookup


def check_training(config: RunConfig) -> None:
    """Refuse levers where they have nothing to act on.

    Raises:
        ConfigError: with the key and what to do.
    """
    levers = config.training.levers()
    if levers and not config.is_active:
        raise ConfigError(
            f"training.{levers[0]}: setting {config.setting} trains on all labels, so there is "
            "nothing that it could add; leave the key out, or choose al, asfda or ada"
        )
    if config.training.adapt.epochs and config.setting not in ("asfda", "ada"):
        raise ConfigError(
            f"training.adapt.epochs: {config.setting} has no source network that could adapt; "
            "leave the key out, or choose asfda or ada"
        )
    if config.training.adapt.mix and config.setting != "ada":
        raise ConfigError(
            f"training.adapt.mix: {config.setting} has no source scans to mix with; leave the key "
            "out, or choose ada"
        )
    _check_teaching(config)
    if "mix" in levers:
        _check_mix(config)
    if config.training.balance.scans and config.active.when == "online":
        raise ConfigError(
            "training.balance.scans: online selection asks about each scan once an epoch, and "
            "balance draws some more often and others not at all; leave the key out, or choose "
            "active.when=round"
        )
    if "teacher" in levers:
        _check_teacher(config)


def _check_mix(config: RunConfig) -> None:
    key, given = "training.mix", config.training.mix
    check_named(MIXES, given, key)
    table = {"type": given} if isinstance(given, str) else given
    check(MIXES, table, key)
    check_keywords(MIXES, table, key)
    try:
        recipe = get_recipe(table)
    except ValueError as error:  # of a range; names and types are right by now
        raise ConfigError(f"{key}.{error}") from error
    backbone = config.model.backbone["type"]
    if not recipe.dense and hasattr(lookup(BACKBONES, backbone), "projection_for"):
        raise ConfigError(
            f"{key}: {backbone} sees a whole scan on its grid, on which labelled points alone are "
            "next to nothing; set training.mix.unlabelled=true"
        )
    if config.active.when == "online":
        raise ConfigError(
            f"{key}: online selection asks about the scans of the training batch, and a mixed one "
            "is none of the pool's; choose active.when=round, or leave the key out"
        )


def _check_teacher(config: RunConfig) -> None:
    teacher, epochs = config.training.teacher, config.schedule.epochs
    if config.active.when == "online":
        raise ConfigError(
            "training.teacher: online selection answers within the training step, after the "
            "teacher was told what is answered; leave the key out, or choose active.when=round"
        )
    if teacher.from_epoch >= epochs:
        raise ConfigError(
            f"training.teacher.from_epoch: the teacher would begin at epoch {teacher.from_epoch}, "
            f"but training has only {count(epochs, 'epoch')}"
        )


def _check_teaching(config: RunConfig) -> None:
    """What is taught is made between two epochs, what answers teach from cells that are smaller
    than voxels."""
    training, active = config.training, config.active
    if active.when == "online":
        for key in (key for key in ("propagate", "surface", "agreement") if getattr(training, key)):
            raise ConfigError(
                f"training.{key}: online selection asks and answers within the training steps, and "
                "what is taught beyond that is made before an epoch; choose active.when=round"
            )
    if (agreement := training.agreement) and agreement.others > 2 * agreement.scans:
        raise ConfigError(
            f"training.agreement.others: {agreement.others} other scans, but there are at most "
            f"{2 * agreement.scans} within training.agreement.scans={agreement.scans}; give at "
            "most that many, or a larger reach"
        )
    cell = None if training.propagate is None else training.propagate.cell
    if cell is not None and cell > active.voxel_size:
        raise ConfigError(
            f"training.propagate.cell: {cell:g} m is larger than active.voxel_size="
            f"{active.voxel_size:g} m, so that one answer would cover places that nobody asked "
            f"about; give at most {active.voxel_size:g}"
        )
