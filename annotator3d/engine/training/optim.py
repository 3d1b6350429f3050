"""Optimisation: optimiser, learning rate, precision, accumulated gradients, effective batch."""

from __future__ import annotations

import inspect
import warnings

import torch

from annotator3d._mmengine import Hook
from annotator3d.engine.config.schema import RunConfig, ScheduleConfig
from annotator3d.errors import ConfigError, count


def optimiser(schedule: ScheduleConfig, device: torch.device | None = None) -> dict:
    """The optim_wrapper config of mmengine's Runner.

    Args:
        device: where the run trains, once that is known.

    Raises:
        ConfigError: the device has no mixed precision.
    """
    # The class, not its name: mmengine's registry has others of some names, or nothing (Adafactor).
    kind = getattr(torch.optim, schedule.optimizer["type"])
    options = {**schedule.optimizer, "type": kind}
    on_cpu = device is not None and device.type == "cpu"
    if on_cpu and "foreach" not in options and "fused" in inspect.signature(kind).parameters:
        options.setdefault("fused", True)  # one pass over all weights, not some over each
    wrapper = {"type": "OptimWrapper", "optimizer": options}
    wrapper["accumulative_counts"] = schedule.accumulate
    if schedule.clip_norm is not None:
        wrapper["clip_grad"] = {"max_norm": schedule.clip_norm}
    return {**wrapper, **_mixed(schedule.precision, device)}


def _mixed(precision: str, device: torch.device | None) -> dict:
    if precision == "fp32":
        return {}
    if device is not None and device.type != "cuda":
        raise ConfigError(
            f"schedule.precision: {precision} needs a CUDA device, this run trains on {device}; "
            "choose schedule.precision=fp32"
        )
    if precision == "fp16":
        return {"type": "AmpOptimWrapper", "dtype": "float16"}
    # bfloat16 has the range of float32: its gradients need no scaling.
    return {"type": "AmpOptimWrapper", "dtype": "bfloat16", "loss_scale": {"enabled": False}}


def learning_rate(schedule: ScheduleConfig, steps_per_epoch: int) -> list[dict]:
    """Linear warm-up from `min_factor`, then cosine towards it, by step (a batch of one process).

    With ``cosine='full'`` the last step has `min_factor`. ``'published'`` divides by all steps, the
    warm-up's included, as the released code does: training ends at 0.0255 of the full rate after
    10 epochs with one of warm-up, at 0.0020 after 50.
    """
    total = schedule.epochs * steps_per_epoch
    warmup = min(round(schedule.warmup_epochs * steps_per_epoch), total)
    if warmup == 1:  # mmengine's LinearLR of one step never reaches the full rate
        warmup = 0
    phases = []
    if warmup > 0:
        phases.append(
            {
                "type": "LinearLR",
                "start_factor": schedule.min_factor,
                "by_epoch": False,
                "begin": 0,
                "end": warmup,
            }
        )
    if total > warmup:
        phases.append(
            {
                "type": "CosineAnnealingLR",
                "T_max": total if schedule.cosine == "published" else total - warmup,
                "eta_min_ratio": schedule.min_factor,
                "by_epoch": False,
                "begin": warmup,
                "end": total,
            }
        )
    return phases


class AccumulationHook(Hook):
    """Gradients are never carried over the end of an epoch, where a checkpoint would lose them.

    The last update of an epoch takes the mean of as many batches as are left.
    """

    def before_train(self, runner) -> None:
        # The rate follows the batches, so it moves before the first update; mmengine would warn.
        warnings.filterwarnings("ignore", r"Detected call of `scheduler\.step", UserWarning)

    def before_train_epoch(self, runner) -> None:
        no_advice = torch.nn.Identity()  # mmengine would warn of batch norm at every epoch
        steps = len(runner.train_dataloader)
        runner.optim_wrapper.initialize_count_status(no_advice, 0, steps)


def describe_batch(config: RunConfig, processes: int) -> list[str]:
    """What one update sees, in words, and a warning if the learning rate is not meant for that."""
    schedule = config.schedule
    batch = schedule.batch_size * processes * schedule.accumulate
    kind = getattr(torch.optim, schedule.optimizer["type"])
    rate = schedule.optimizer.get("lr", inspect.signature(kind).parameters["lr"].default)
    parts = [count(schedule.batch_size, "scan")]
    parts += [count(processes, "process", "processes")] if processes > 1 else []
    parts += [f"{schedule.accumulate} accumulated"] if schedule.accumulate > 1 else []
    source = ""
    if config.setting == "ada":
        beside = (schedule.source_batch_size or schedule.batch_size) * batch // schedule.batch_size
        source = f" and {beside} of the source"
    total = f" = {batch}" if len(parts) > 1 else ""
    lines = [f"batch: {' x '.join(parts)}{total}{source} per update; learning rate {rate:g}"]
    meant = schedule.reference_batch or schedule.batch_size
    if batch != meant:
        lines.append(
            f"warning: an update sees {count(batch, 'scan')}, but the learning rate "
            f"{rate:g} is meant for "
            f"{meant}; in proportion it would be schedule.optimizer.lr={rate * batch / meant:g} "
            f"(with schedule.reference_batch={batch} if that is what you want)"
        )
    return lines
