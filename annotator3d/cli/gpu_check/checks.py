"""What the steps of a GPU check do that need nothing but the package.

Each runs in a process of its own: ``python -m annotator3d.cli.gpu_check.checks NAME [ARGS]``. It
prints its figures as one line of JSON, and a `CheckError` with exit code 1 where something is
wrong. They take the device, so that their own logic is tested on a CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from annotator3d.cli.gpu_check.steps import FIGURES
from annotator3d.data.batch import InputRule, collate, make_sample
from annotator3d.data.datasets.simulated import SimulatedStreets
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.run import train
from annotator3d.engine.training.checkpoint_file import read_weights
from annotator3d.engine.training.checkpoints import Checkpoints
from annotator3d.engine.workdir import WorkDir
from annotator3d.kernels import cuda_info, select_voxels, voxelize
from annotator3d.models.segmentor import Segmentor

Figures = dict[str, object]
CLASSES, SIZE = 19, 0.25
SMALL = {"type": "MinkUNet", "planes": [16, 32, 64, 64, 32], "blocks": 1}
_FORWARD, _GRADIENT = 1e-3, 1e-2  # largest relative differences between devices, in float32


class CheckError(Exception):
    """Something is not as it must be."""


def require(fact: bool, words: str) -> None:
    if not fact:
        raise CheckError(words)


def kernels(device: str = "cuda") -> Figures:
    """The same scores, on CPU and GPU, give the same picks, bit for bit, by the CUDA library."""
    info = cuda_info()
    usable = info["library"] and info["reason"] is None
    require(device == "cpu" or bool(usable), f"the CUDA library is not used: {info['reason']}")
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(0, 15, (120_000, 3)).astype(np.float32))
    points[::7] = points[::7].round()  # faces of cells, where rounding decides
    logits = torch.from_numpy(rng.normal(0, 3, (len(points), CLASSES)).astype(np.float32))
    splits = torch.tensor([0, 50_000, 50_000, 120_000])
    for score in ("vcd", "entropy", "margin"):
        for prediction in (logits, logits.half()) if score != "vcd" else (logits, logits.argmax(1)):
            found = []
            for place in ("cpu", device):
                given = points.to(place), prediction.to(place)
                found.append(
                    select_voxels(
                        given[0], SIZE, given[1], CLASSES, score=score, k=5, seeds=[3, 4, 5],
                        splits=splits, want_scores=True,
                    )
                )  # fmt: skip
            for part in ("cells", "scores", "counts", "pick_of_point", "point_utilities"):
                here, there = (getattr(selection, part).cpu() for selection in found)
                require(torch.equal(here, there), f"{score}: {part} differ between CPU and GPU")
    here, there = voxelize(points, 0.05), voxelize(points.to(device), 0.05)
    for part in ("cells", "point_to_voxel", "counts"):
        same = torch.equal(getattr(here, part), getattr(there, part).cpu())
        require(same, f"voxelize: {part} differ between CPU and GPU")
    return {"scans": 3, "points": len(points), "scores compared": 6}


def convolution(device: str = "cuda") -> Figures:
    """A network's output and gradients on the GPU are those on the CPU; half precision is near."""
    batch = _batch(scans=2)
    here, there = _network(), _network().to(device)
    wanted, gradients = _step(here, batch)
    found, found_gradients = _step(there, batch)
    figures: Figures = {
        "difference of logits": _difference(found, wanted),
        "of gradients": _difference(found_gradients, gradients),
    }
    again, _ = _step(there, batch)
    figures["same bits twice"] = "yes" if torch.equal(again, found) else "no"
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        if device == "cpu":  # autocast there is another thing
            continue
        near, near_gradients = _step(there, batch, dtype)
        require(bool(near.isfinite().all()), f"{name}: logits are not finite")
        cosine = torch.nn.functional.cosine_similarity(near_gradients, gradients, dim=0)
        figures[f"cosine of gradients, {name}"] = float(cosine)
        require(float(cosine) > 0.9, f"{name}: gradients differ from float32, cosine {cosine:.3f}")
    require(figures["difference of logits"] < _FORWARD, f"logits differ: {figures}")
    require(figures["of gradients"] < _GRADIENT, f"gradients differ: {figures}")
    return figures


def round(setting: str, precision: str, folder: str, device: str = "cuda") -> Figures:
    """Two epochs with a round each on simulated streets: all is asked, answered and finite."""
    work_dir, init = WorkDir(Path(folder) / "run"), None
    if setting != "al":  # those start from a network of the source
        source = WorkDir(Path(folder) / "source")
        train(_config("source_only", precision, device), source)
        init = str(_last_checkpoint(source))
    record = train(_config(setting, precision, device, init), work_dir)
    return _of_run(record, work_dir)


def resume(folder: str, device: str = "cuda") -> Figures:
    """A run that lost its last checkpoint trains on, and asks nothing twice."""
    work_dir, config = WorkDir(folder), _config("al", "fp32", device)
    asked = _of_run(train(config, work_dir), work_dir)["asked"]
    last = _last_checkpoint(work_dir)
    before = read_weights(last)
    last.unlink()
    figures = _of_run(train(config, work_dir, resume=True), work_dir)
    after = read_weights(last)
    require(figures["asked"] == asked, f"{asked} voxels were asked, {figures['asked']} after it")
    worst = max(float((after[k].double() - v.double()).abs().max()) for k, v in before.items())
    return {**figures, "largest difference of a weight": worst}


def memory(device: str = "cuda") -> Figures:
    """Memory of a step of the published size on one full scan, and whether it grows."""
    batch = _batch(scans=1, azimuths=2083, voxel_size=0.05)
    figures: Figures = {}
    for name, dtype in (("fp32", None), ("fp16", torch.float16)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        network = _network(None).to(device)
        held = []
        for _ in range(4):
            _step(network, batch, dtype)
            held.append(torch.cuda.memory_allocated())
        figures[f"step of one scan, {name} (GB)"] = torch.cuda.max_memory_allocated() / 1e9
        require(held[-1] <= held[1] * 1.01, f"{name}: memory grows from step to step: {held}")
        del network
    return figures


def _network(backbone: dict | None = SMALL) -> Segmentor:
    torch.manual_seed(0)
    return Segmentor(backbone or {"type": "MinkUNet"}, CLASSES).train()


def _batch(scans: int, azimuths: int = 360, voxel_size: float = 0.3) -> dict:
    """A batch of simulated scans as training makes it."""
    rule = InputRule(CLASSES, voxel_size=voxel_size)
    with tempfile.TemporaryDirectory() as folder:
        dataset = SimulatedStreets("hdl64", 1, scans, azimuths=azimuths, root=folder)
        samples = []
        for index in range(scans):
            scan = dataset.read(index)
            samples.append(make_sample(scan, rule, scan.labels))
    return collate(samples)


def _step(model: Segmentor, batch: dict, dtype: torch.dtype | None = None):
    """Logits [V, C] and the gradients [P] of a step, on the CPU; the weights stay."""
    device = next(model.parameters()).device
    given = model.data_preprocessor(batch, True)
    model.zero_grad()
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        logits = model(given)
        loss = sum(model(given, mode="loss").values())
    (loss * (1024 if dtype else 1)).backward()
    gradients = torch.cat([p.grad.flatten() for p in model.parameters()]).float().cpu()
    return logits.detach().float().cpu(), gradients / (1024 if dtype else 1)


def _difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference in units of the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def _config(setting: str, precision: str, device: str, init: str | None = None):
    splits = ("source", "train", "val")
    changes: dict[str, object] = {
        "device": device,
        "schedule.epochs": 2,
        "schedule.precision": precision,
        "active.rounds_at": [0, 1],
        **{f"data.{split}.sequences": 1 for split in splits},
        **{f"data.{split}.scans": 4 for split in splits},
    }
    if setting == "ada":
        changes["schedule.source_until"] = 2
    if init is not None:
        changes["init"] = init
    settings = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return load_config(find_config(f"{setting}/streets_demo"), settings)


def _last_checkpoint(work_dir: WorkDir) -> Path:
    return work_dir.checkpoints / Checkpoints(work_dir.checkpoints, 1).places()[-1].file_name


def _of_run(record, work_dir: WorkDir) -> Figures:
    final = record.final()
    with work_dir.ledger() as ledger:
        asked, unanswered = ledger.spent(), len(ledger.open_queries())
    require(asked > 0 and not unanswered, f"{asked} voxels asked, {unanswered} of them unanswered")
    weights = read_weights(_last_checkpoint(work_dir))
    finite = all(bool(v.isfinite().all()) for v in weights.values())
    require(finite, "weights of the last checkpoint are not finite")
    return {"asked": asked, "mIoU": final.get("miou")}


CHECKS = {
    "kernels": kernels,
    "convolution": convolution,
    "round": round,
    "resume": resume,
    "memory": memory,
}


def main(arguments: list[str]) -> int:
    name, *args = arguments
    try:
        figures = CHECKS[name](*args)
    except CheckError as error:
        print(error)
        return 1
    print(FIGURES + json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
