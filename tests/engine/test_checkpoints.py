"""Checkpoints: whole or absent, checked before use, harmless to load, and kept few."""

from __future__ import annotations

import errno
import os
import pickletools
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import tiny_config

from annotator3d.engine.evaluation import evaluate_checkpoint
from annotator3d.engine.run import train
from annotator3d.engine.training.checkpoint_file import damage, read_checkpoint
from annotator3d.engine.training.checkpoints import Checkpoints, Place
from annotator3d.engine.training.runner import A3dRunner
from annotator3d.reporter import Reporter


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=200)


class Heard(Reporter):
    """Remembers what it was told."""

    def __init__(self):
        self.said = []

    def info(self, text):
        self.said.append(text)


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, flip, empty])
def test_a_damaged_newest_checkpoint_is_passed_over_to_the_same_result(root, tmp_path, harm):
    config, heard = tiny_config(root), Heard()
    record = train(config, tmp_path / "al")
    newest = record.work_dir.checkpoints / "epoch_4.pth"
    whole = weights(newest)
    harm(newest)
    train(config, tmp_path / "al", resume=True, reporter=heard)
    assert any("epoch_4.pth is damaged" in text for text in heard.said)
    assert "continuing from epoch_3.pth instead: the same training is repeated" in heard.said
    assert same(weights(newest), whole)


def test_an_old_checkpoint_trains_without_answers_of_later_rounds(root, tmp_path):
    config, heard = tiny_config(root, schedule={"keep_checkpoints": 4}), Heard()
    record = train(config, tmp_path / "al")
    whole = weights(record.work_dir.checkpoints / "epoch_4.pth")
    for epoch in (2, 3, 4):
        flip(record.work_dir.checkpoints / f"epoch_{epoch}.pth")
    train(config, tmp_path / "al", resume=True, reporter=heard)
    assert "continuing from epoch_1.pth instead: the same training is repeated" in heard.said
    assert same(weights(record.work_dir.checkpoints / "epoch_4.pth"), whole)


def test_without_a_whole_checkpoint_training_restarts_with_its_rounds(root, tmp_path):
    config, heard = tiny_config(root), Heard()
    record = train(config, tmp_path / "al")
    whole = weights(record.work_dir.checkpoints / "epoch_4.pth")
    ledger = record.work_dir.ledger_path.read_bytes()
    for path in record.work_dir.checkpoints.glob("*.pth"):
        flip(path)
    train(config, tmp_path / "al", resume=True, reporter=heard)
    assert sum("is damaged" in text for text in heard.said) == 2
    assert same(weights(record.work_dir.checkpoints / "epoch_4.pth"), whole)
    assert record.work_dir.ledger_path.read_bytes() == ledger  # nothing was asked again


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "epoch_1.pth"
    torch.save({"state_dict": {"w": torch.arange(64.0)}, "meta": {"epoch": 1}}, path)
    return path, path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_noticed_or_changes_nothing(small, data):
    path, whole = small
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    if damage(path) is None:
        try:
            content = read_checkpoint(path)
        except ValueError:  # torch reads more of the archive's form than its checksums cover
            return
        assert torch.equal(content["state_dict"]["w"], torch.arange(64.0))
        assert content["meta"] == {"epoch": 1}


@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_off_file_is_noticed(small, share):
    path, whole = small
    path.write_bytes(whole[: int(share * len(whole))])
    assert damage(path) is not None


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_file_that_would_run_code_is_refused_wherever_it_lies(root, tmp_path):
    config = tiny_config(root)
    record = train(config, tmp_path / "al")
    crafted, ran = record.work_dir.checkpoints / "epoch_4.pth", tmp_path / "code ran"
    content = torch.load(crafted, weights_only=True)
    torch.save({**content, "extra": Evil(ran)}, crafted)
    with pytest.raises(ValueError, match="epoch_4.pth is not a checkpoint of tensors"):
        train(config, tmp_path / "al", resume=True)
    with pytest.raises(ValueError, match="is not a checkpoint of tensors"):
        evaluate_checkpoint(config, str(crafted), None, Reporter())
    with pytest.raises(ValueError, match="is not a checkpoint of tensors"):
        train(tiny_config(root, "asfda", init=str(crafted)), tmp_path / "asfda")
    assert not ran.exists()
    torch.load(crafted, weights_only=False)
    assert ran.exists(), "the file must be harmful for the test to mean anything"


def test_a_checkpoint_names_nothing_but_tensors_and_plain_containers(root, tmp_path):
    record = train(tiny_config(root, schedule={"epochs": 3, "ema": 0.9}), tmp_path / "al")
    with zipfile.ZipFile(record.work_dir.checkpoints / "epoch_3.pth") as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
        opcodes = list(pickletools.genops(archive.read(name)))
    named = {arg for code, arg, _ in opcodes if code.name in ("GLOBAL", "INST")}
    assert not any(code.name == "STACK_GLOBAL" for code, *_ in opcodes)
    modules = {"torch", "torch._utils", "collections"}
    assert named and {arg.split(" ")[0] for arg in named} <= modules, named


def test_a_full_disk_keeps_the_checkpoint_before_and_is_said(root, tmp_path, monkeypatch):
    config = tiny_config(root)
    whole = weights(train(config, tmp_path / "whole").work_dir.checkpoints / "epoch_4.pth")
    save = A3dRunner.save

    def on_a_full_disk(self, files, place):
        if place.epoch == 3:
            part = files.folder / f".epoch_3.pth.{os.getpid()}.part"
            part.symlink_to("/dev/full")
        save(self, files, place)

    monkeypatch.setattr(A3dRunner, "save", on_a_full_disk)
    words = (
        rf"epoch_3.pth could not be written \({os.strerror(errno.ENOSPC)}\); epoch_2.pth is kept"
    )
    with pytest.raises(OSError, match=words):
        train(config, tmp_path / "al")
    folder = tmp_path / "al" / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["epoch_1.pth", "epoch_2.pth"]
    monkeypatch.undo()
    train(config, tmp_path / "al", resume=True)
    assert same(weights(folder / "epoch_4.pth"), whole)


def test_a_file_cut_off_while_it_is_written_is_never_taken_for_a_checkpoint(root, tmp_path):
    config = tiny_config(root, schedule={"epochs": 3})
    record = train(config, tmp_path / "al")
    leftover = record.work_dir.checkpoints / ".epoch_3.pth.999999.part"
    leftover.write_bytes(b"half")
    train(config, tmp_path / "al", resume=True)
    assert not leftover.exists()


def places(*names):
    return [Place.of(name) for name in names]


def test_the_newest_are_kept_and_the_middle_of_an_epoch_until_its_end(root, tmp_path):
    class Runner:
        iter, world_size = 0, 1

        def save_checkpoint(self, folder, name, meta):
            torch.save({"meta": meta}, os.path.join(folder, name))

    files = Checkpoints(tmp_path / "c", keep=2)
    for place in (Place(1), Place(2), Place(2, 7), Place(2, 9)):
        files.save(Runner(), place)
    assert files.places() == [Place(1), Place(2), Place(2, 7), Place(2, 9)]
    files.save(Runner(), Place(3))
    assert files.places() == [Place(2), Place(3)]
    assert sorted(p.name for p in files.folder.iterdir()) == ["epoch_2.pth", "epoch_3.pth"]


def test_the_middle_of_an_epoch_belongs_to_as_many_processes(tmp_path):
    class Runner:
        iter, world_size = 0, 4

        def save_checkpoint(self, folder, name, meta):
            torch.save({"meta": meta}, os.path.join(folder, name))

    files, said = Checkpoints(tmp_path, keep=2), []
    files.save(Runner(), Place(2))
    files.save(Runner(), Place(2, 7))
    assert files.newest(4, said.append) == Place(2, 7) and said == []
    assert files.newest(2, said.append) == Place(2)
    assert "is from the middle of an epoch of 4 processes, this run has 2" in said[0]


def test_names_that_are_no_checkpoint_are_left_alone(tmp_path):
    for name in ("epoch_x.pth", "epoch_1.pth.bak", "best.pth", "epoch_1_step_.pth"):
        (tmp_path / name).write_bytes(b"")
    assert Checkpoints(tmp_path, keep=1).newest(1, print) is None
