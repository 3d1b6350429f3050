"""Weights that are damaged or no numbers are refused at every door, with the file named."""

from __future__ import annotations

import io
import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

import annotator3d as a3d
from annotator3d.cli.main import main
from annotator3d.engine.run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of one epoch: its folder, its config and its checkpoint."""
    folder = tmp_path_factory.mktemp("values")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=1, points=60)
    config = tiny_config(root, schedule={"epochs": 1}, active={"rounds_at": [0]})
    train(config, folder / "run")
    return folder / "run"


@pytest.fixture
def own(run, tmp_path):
    """A copy of the run whose checkpoint may be harmed; the checkpoint."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run" / "checkpoints" / "epoch_1.pth"


def flip_a_weight(path: Path) -> None:
    """Change one bit of a part that holds a weight; torch.load does not see it."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        part = next(p for p in archive.infolist() if "/data/" in p.filename and p.file_size > 8)
    start = part.header_offset
    name, extra = (int.from_bytes(data[start + at : start + at + 2], "little") for at in (26, 28))
    data[start + 30 + name + extra + 2] ^= 0x01
    path.write_bytes(data)


def rewrite(path: Path, change) -> None:
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {name: change(name, w) for name, w in content["state_dict"].items()}
    torch.save(content, path)


def put(value):
    def change(name, weight):
        if weight.is_floating_point():
            weight.reshape(-1)[0] = value
        return weight

    return lambda path: rewrite(path, change)


def cast(dtype):
    return lambda path: rewrite(path, lambda _, w: w.to(dtype) if w.is_floating_point() else w)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def as_list(path: Path) -> None:
    torch.save([1, 2], path)


def texts(path: Path) -> None:
    torch.save({"state_dict": {"head.weight": "none"}}, path)


HARMS = {
    "a flipped bit": (flip_a_weight, "is damaged (wrong checksum of"),
    "cut off": (cut, "is damaged"),
    "a NaN": (put(float("nan")), "not finite"),
    "infinite": (put(-float("inf")), "not finite"),
    "beyond float32": (
        lambda path: rewrite(path, lambda _, w: w.double() + 1e300),
        "not finite",
    ),
    "integers": (cast(torch.int32), "is int32"),
    "bytes": (cast(torch.uint8), "is uint8"),
    "complex": (cast(torch.complex64), "is complex64"),
    "a list": (as_list, "expected a checkpoint"),
    "texts": (texts, "expected weights by name"),
}


def doors(checkpoint: Path):
    """Every way in which a checkpoint is taken, as a command line."""
    folder, out = checkpoint.parents[1], checkpoint.parents[2]
    config, file = str(folder / "config.yaml"), str(checkpoint)
    to = ["--work-dir", str(out / "new")]
    return {
        "evaluate": ["evaluate", config, file],
        "init": ["train", config, "--set", "setting=asfda", "--init", file, *to],
        "select": ["select", config, "--checkpoint", file, *to],
        "export": [
            *["export", str(folder), str(out / "labels"), "--what", "predictions"],
            *["--format", "semantickitti", "--checkpoint", file],
        ],
    }


@pytest.mark.parametrize("door", ["evaluate", "init", "select", "export"])
@pytest.mark.parametrize("harm", HARMS)
def test_every_command_refuses_a_checkpoint_that_is_not_as_it_was_written(own, capsys, harm, door):
    change, words = HARMS[harm]
    change(own)
    assert main(doors(own)[door]) == 1
    said = capsys.readouterr().err
    assert words in said and own.name in said and len(said) < 500, said
    assert not (own.parents[2] / "labels").exists()
    assert not (own.parents[2] / "new" / "ledger.sqlite").exists()


@pytest.mark.parametrize("harm", HARMS)
def test_python_refuses_it_too(own, harm):
    change, words = HARMS[harm]
    change(own)
    with pytest.raises(ValueError, match=own.name) as refused:
        a3d.init_model(str(own.parents[1] / "config.yaml"), own, "cpu")
    assert words in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_taken(own, dtype):
    cast(dtype)(own)
    assert a3d.init_model(str(own.parents[1] / "config.yaml"), own, "cpu").class_names


@pytest.mark.parametrize("lacking", ["optimizer", "meta", "param_schedulers"])
def test_resume_says_what_a_checkpoint_lacks(own, capsys, lacking):
    content = torch.load(own, weights_only=True)
    content["meta"]["epoch"] = 0  # so that there is something left to train
    del content[lacking]
    torch.save(content, own)
    folder = own.parents[1]
    assert main(["train", str(folder / "config.yaml"), "--work-dir", str(folder), "--resume"]) == 1
    said = capsys.readouterr().err
    assert f"{own.name} cannot be continued from: expected '{lacking}' in it" in said


@pytest.mark.parametrize("door", ["evaluate", "init", "select", "export"])
def test_a_network_whose_outputs_are_not_finite_gives_no_result(own, capsys, door):
    rewrite(own, lambda _, w: torch.full_like(w, 1e38) if w.is_floating_point() else w)
    line = [*doors(own)[door], *(["--set", "active.strategy=entropy"] if door == "init" else [])]
    assert main(line) in (1, 2)
    said = capsys.readouterr()
    assert "not finite" in said.err and "mIoU" not in said.out, said
    labels = own.parents[2] / "labels"
    assert not [path for path in labels.rglob("*") if path.is_file()]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [1, 4])
def test_a_loss_that_is_not_finite_stops_training_and_keeps_what_was(
    run, tmp_path, capsys, monkeypatch, value, step
):
    from annotator3d.models.segmentor import Segmentor

    taken, whole = [], Segmentor.train_step  # the first step is the trial before the run

    def train_step(self, data, optim_wrapper):
        losses = whole(self, data, optim_wrapper)
        taken.append(1)
        return {**losses, "loss_ce": torch.tensor(value)} if len(taken) == step + 1 else losses

    monkeypatch.setattr(Segmentor, "train_step", train_step)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["schedule"] |= {"epochs": 3, "batch_size": 1}  # two steps an epoch
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", str(tmp_path / "c.yaml"), "--work-dir", str(tmp_path / "new")]) == 1
    said = capsys.readouterr().err
    place = {1: "epoch 1, step 1 of 2", 4: "epoch 2, step 2 of 2"}[step]
    assert f"training stops in {place}: loss_ce is {value:g}" in said
    kept = sorted(path.name for path in (tmp_path / "new" / "checkpoints").glob("*.pth"))
    assert kept == ([] if step == 1 else ["epoch_1.pth"])


def test_weights_that_the_last_step_made_infinite_are_not_saved(run, tmp_path, capsys, monkeypatch):
    from annotator3d.models.segmentor import Segmentor

    taken, whole = [], Segmentor.train_step  # the first step is the trial before the run

    def train_step(self, data, optim_wrapper):
        losses = whole(self, data, optim_wrapper)
        taken.append(1)
        if len(taken) > 1:
            with torch.no_grad():
                self.head.bias[0] = float("nan")
        return losses

    monkeypatch.setattr(Segmentor, "train_step", train_step)
    folder = tmp_path / "new"
    assert main(["train", str(run / "config.yaml"), "--work-dir", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "weight 'head.bias' has 1 of" in said and "not finite" in said
    assert not list(folder.glob("checkpoints/*.pth"))


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {part.filename: archive.read(part) for part in archive.infolist()}


def archive_of(parts: dict[str, bytes]) -> bytes:
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return text.getvalue()


def mutated(random: random.Random, whole: bytes, parts: dict[str, bytes]) -> bytes:
    """Bytes flipped or cut; or, with checksums that fit again, another pickle or shorter parts."""
    kind = random.choice(["flip", "cut", "pickle", "part"])
    if kind == "cut":
        return whole[: random.randrange(len(whole))]
    if kind == "flip":
        data = bytearray(whole)
        for _ in range(random.randint(1, 5)):
            data[random.randrange(len(data))] ^= random.randint(1, 255)
        return bytes(data)
    name = random.choice([n for n in parts if n.endswith("data.pkl") or kind == "part"])
    data = bytearray(parts[name])
    if kind == "part":
        data = data[: random.randrange(len(data) + 1)]
    else:
        data[random.randrange(len(data))] = random.randrange(256)
    return archive_of({**parts, name: bytes(data)})


def test_mutated_checkpoints_are_refused_by_name_or_hold_finite_weights(tmp_path):
    from annotator3d.engine.training.checkpoint_file import read_weights

    path, ran = tmp_path / "epoch_7.pth", tmp_path / "code ran"
    weights = {"head.weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}
    torch.save({"state_dict": weights, "meta": {"epoch": 1}}, path)
    whole, parts, refused = path.read_bytes(), parts_of(path), 0
    torch.save({"state_dict": weights, "extra": Evil(ran)}, path)
    evil, evil_parts = path.read_bytes(), parts_of(path)
    for seed in range(400):
        source = (evil, evil_parts) if seed % 4 == 0 else (whole, parts)
        path.write_bytes(mutated(random.Random(seed), *source))
        try:
            found = read_weights(path)
        except ValueError as error:
            refused += 1
            assert str(path) in str(error) and len(str(error)) < 600
            continue
        assert all(bool(w.float().isfinite().all()) for w in found.values())
    assert refused > 300
    assert not ran.exists()
