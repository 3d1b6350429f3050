"""One step of a training on a part of one scan, before anything is written.

What cannot train is found here, and not after a person has labelled a round: values that
augmentation, network, loss, optimiser or schedule do not take, alone or together.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from annotator3d._mmengine import PARAM_SCHEDULERS, build_optim_wrapper
from annotator3d.data.augment import augment
from annotator3d.data.batch import collate, make_sample
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.projections.range_image import RangeImage
from annotator3d.data.scan import Scan
from annotator3d.engine.build import input_rule
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import Datasets
from annotator3d.engine.training.finite import refuse_infinite_weights
from annotator3d.engine.training.optim import learning_rate, optimiser
from annotator3d.errors import ConfigError, count
from annotator3d.models.segmentor import Segmentor

POINTS = 1024  # of the scan, evenly spaced: a step on them takes a fraction of a second
_LOOKED_AT = 8  # scans, for one that has points


def try_one_step(
    config: RunConfig, datasets: Datasets, model: Segmentor, device: torch.device
) -> None:
    """Take a step with a copy of `model`; random numbers and the model stay as they are.

    The labels are made up, so that a scan without any tries the loss too.

    Raises:
        ConfigError: it fails, or its loss or weights are not finite; the message names the scan.
    """
    scans = datasets.source if config.setting == "source_only" else datasets.pool
    scan = _first_with_points(scans)
    if scan is None:
        return
    beside = _first_with_points(datasets.source) if config.setting == "ada" else None
    _check_rows(config, datasets, model.num_classes)
    try:
        with _random_numbers_kept():
            losses, weights = _step(config, scan, beside, model, device)
        wrong = {name: value for name, value in losses.items() if not math.isfinite(value)}
        if wrong:
            raise ValueError(f"the loss is not finite: {wrong}")
        refuse_infinite_weights(weights, "no training would give a result")
    except Exception as error:  # of torch, of a plug-in, or of ours: all say that this cannot train
        words = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"this config cannot train: a first step on {count(len(scan.xyz), 'point')} of scan "
            f"{scan.id} failed ({type(error).__name__}: {words[:250]}); correct model, schedule, "
            "init or data. Nothing was written"
        ) from error


def _step(
    config: RunConfig, scan: Scan, beside: Scan | None, model: Segmentor, device: torch.device
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """The parts of the loss, and the weights after the step."""
    trial = copy.deepcopy(model).to(device).train()
    schedule = replace(config.schedule, accumulate=1)
    wrapper = build_optim_wrapper(trial, optimiser(schedule, device))
    phases = [
        PARAM_SCHEDULERS.build({**phase, "optimizer": wrapper})
        for phase in learning_rate(schedule, steps_per_epoch=2)
    ]
    batch = {"batch": _batch(config, scan, model.num_classes)}
    if beside is not None:
        batch["source"] = _batch(config, beside, model.num_classes)
    losses = trial.train_step(batch, wrapper)
    for phase in phases:
        phase.step()
    return {name: float(value.detach()) for name, value in losses.items()}, trial.state_dict()


def _batch(config: RunConfig, scan: Scan, num_classes: int) -> dict:
    xyz, augmentation = scan.xyz, config.schedule.augmentation
    if augmentation is not None:
        xyz = augment(xyz, config.seed, 0, 0, **augmentation)
    labels = (np.arange(len(xyz)) % num_classes).astype(np.uint8)
    return collate([make_sample(scan, input_rule(config, num_classes), labels, xyz)])


def _check_rows(config: RunConfig, datasets: Datasets, num_classes: int) -> None:
    """Refuse range images whose rows are rings in one data set and angles in another.

    Raises:
        ConfigError: with the names of both.
    """
    projection = input_rule(config, num_classes).projection
    if not isinstance(projection, RangeImage) or projection.rows != "auto":
        return
    named = {"train" if name == "pool" else name: data for name, data in datasets.named().items()}
    found = {f"data.{name}": _first_with_points(data) for name, data in named.items()}
    known = {name: scan.ring is not None for name, scan in found.items() if scan is not None}
    if len(set(known.values())) > 1:
        with_rings = next(name for name, has in known.items() if has)
        without = next(name for name, has in known.items() if not has)
        raise ConfigError(
            f"model.backbone.rows: scans of {with_rings} have ring numbers and those of {without} "
            "have none, so a row would mean one thing here and another there; set "
            "model.backbone.rows=angle"
        )


def _first_with_points(scans: ScanDataset) -> Scan | None:
    """At most `POINTS` points of one of the first scans; None if they are all empty."""
    for index in range(min(len(scans), _LOOKED_AT)):
        scan = scans.read(index, labels=False)
        if len(scan.xyz):
            kept = slice(None, None, math.ceil(len(scan.xyz) / POINTS))
            return replace(
                scan,
                xyz=scan.xyz[kept],
                intensity=scan.intensity[kept],
                rows=scan.rows[kept],
                ring=None if scan.ring is None else scan.ring[kept],
            )
    return None


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
