"""A mean teacher: what it labels, what it leaves alone, and that a stopped run goes on with it."""

from __future__ import annotations

import copy
import csv
from fractions import Fraction

import distributed_runs as case
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import run_ranks
from resumed_runs import same
from stopped_runs import stopped_after
from tiny_runs import BACKBONE, tiny_config

from annotator3d.data.batch import InputRule, TrainingScans, collate, make_sample
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import IGNORE, VoxelLabels
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.config.schema import TeacherConfig
from annotator3d.engine.distributed import ALONE
from annotator3d.engine.run import train
from annotator3d.engine.training.checkpoint_file import read_checkpoint
from annotator3d.engine.training.teacher import Teacher
from annotator3d.engine.training.teacher_hook import remarks
from annotator3d.engine.training.thresholds import ClassThresholds
from annotator3d.errors import ConfigError
from annotator3d.kernels.grouping import voxelize
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter

BOTH = {"pseudo_labels": 1.0, "consistency": 0.5, "floor": 0.05, "decay": 0.9}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=200)


class Told(Reporter):
    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)


def run(root, folder, setting="al", teacher=BOTH, reporter=None, **changes):
    config = tiny_config(root, setting, training={"teacher": dict(teacher)}, **changes)
    train(config, folder, reporter=reporter)
    epochs = config.schedule.epochs
    return read_checkpoint(folder / "checkpoints" / f"epoch_{epochs}.pth")


# The thresholds


batches_of_predictions = st.lists(
    st.lists(st.tuples(st.integers(0, 64), st.integers(0, 3)), max_size=12), min_size=1, max_size=6
)


@given(batches_of_predictions, st.sampled_from([0.0, 0.3]), st.sampled_from([0.5, 0.75]))
def test_the_threshold_of_a_class_is_the_faded_mean_of_its_confidence(found, floor, decay):
    ours = ClassThresholds(4, floor, decay)
    batches = [[(Fraction(c, 64), k) for c, k in batch] for batch in found]
    for batch in batches:
        confidence = torch.tensor([float(c) for c, _ in batch])
        ours.update(confidence, torch.tensor([k for _, k in batch], dtype=torch.long), ALONE)
    for label in range(4):
        weights = [Fraction(decay) ** age for age in range(len(batches))][::-1]
        sums = sum(w * c for w, b in zip(weights, batches, strict=True) for c, k in b if k == label)
        rows = sum(w for w, b in zip(weights, batches, strict=True) for _, k in b if k == label)
        expected = max(Fraction(floor), sums / rows) if rows else Fraction(floor)
        assert ours.values[label].item() == pytest.approx(float(expected), abs=1e-6)
        above, below = float(expected) + 1e-4, float(expected) - 1e-4
        taken = ours.accept(torch.tensor([above, below]), torch.tensor([label, label]))
        assert taken.tolist() == [True, below >= floor and below >= float(expected)]


def test_the_order_of_rows_changes_no_bit_of_a_threshold():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(10_000, generator=generator)
    classes = torch.randint(0, 5, (10_000,), generator=generator)
    values = []
    for order in (torch.arange(10_000), torch.randperm(10_000, generator=generator)):
        ours = ClassThresholds(5, 0.1, 0.9)
        ours.update(confidence[order], classes[order], ALONE)
        values.append(ours.values)
    assert torch.equal(*values)


def test_a_class_that_a_batch_lacks_keeps_its_threshold():
    ours = ClassThresholds(3, 0.0, 0.5)
    ours.update(torch.tensor([0.25, 0.75]), torch.tensor([0, 0]), ALONE)
    for _ in range(2000):  # far longer than numbers of 64 bits fade
        ours.update(torch.tensor([0.5]), torch.tensor([1]), ALONE)
    assert ours.values.tolist() == pytest.approx([0.5, 0.5, 0.0])


# What the teacher says


def network(num_classes=5, seed=0):
    torch.manual_seed(seed)
    return Segmentor(BACKBONE, num_classes)


def batch_of(root, answers=None, augmentation=None, rule=None):
    pool = SemanticKITTI(root, ["00"])
    rule = rule or InputRule(5, 2.0, "mean")
    scans = TrainingScans(
        pool, rule, 0, augmentation, 4.0, answers or {}, for_teacher=True, with_raw=True
    )
    return pool, collate([scans[i] for i in range(len(scans))])


def test_its_weights_are_the_mean_of_all_until_they_move():
    student = network()
    ours = Teacher(student, TeacherConfig(decay=0.75), ALONE)
    name = "head.weight"
    mean = [student.state_dict()[name].clone()]
    for step in range(6):
        with torch.no_grad():
            student.head.weight.add_(torch.randn_like(student.head.weight))
        ours.update(student)
        now = student.state_dict()[name].clone()
        if step < 2:
            mean.append(now)
            expected = torch.stack(mean).mean(0)
        else:
            expected = 0.75 * expected + 0.25 * now
        torch.testing.assert_close(ours.network.state_dict()[name], expected)


def test_it_reads_the_same_points_as_they_were_recorded(root):
    pool, batch = batch_of(root, augmentation={"scale": [0.5, 2.0]})
    ours = Teacher(network(), TeacherConfig(pseudo_labels=1.0), ALONE)
    got = ours.probabilities(batch)
    assert len(got) == len(batch["cells"]) != len(batch["raw"]["cells"])
    rule = InputRule(5, 2.0, "mean")
    together = ours.network(collate([make_sample(pool.read(i), rule) for i in (0, 1)]))
    rows, start = [], 0
    for i in (0, 1):  # by a dictionary of cells
        xyz = pool.read(i).xyz
        cells = [tuple(cell) for cell in np.floor(xyz / np.float32(2.0)).astype(int).tolist()]
        voxels = {cell: start + n for n, cell in enumerate(dict.fromkeys(cells))}
        rows += [voxels[cell] for cell in cells]
        start += len(voxels)
    for voxel, point in enumerate(batch["first"].tolist()):
        torch.testing.assert_close(got[voxel], together[rows[point]].softmax(0))


def test_the_same_view_needs_no_other_scan(root):
    _, batch = batch_of(root, augmentation={})
    del batch["raw"]
    ours = Teacher(network(), TeacherConfig(pseudo_labels=1.0, view="same"), ALONE)
    torch.testing.assert_close(ours.probabilities(batch), ours.network(batch).softmax(1))


def answered_voxel(pool, labels):
    """The fullest voxel of the first scan; its points have these labels in turn."""
    voxels = voxelize(torch.from_numpy(pool.read(0).xyz), 4.0)
    fullest = int(voxels.counts.argmax())
    n = int(voxels.counts[fullest])
    given = np.resize(np.array(labels, np.uint8), n)
    return VoxelLabels(tuple(voxels.cells[fullest].tolist()), given, 1), voxels, fullest


@pytest.mark.parametrize("labels", [[3], [IGNORE], [3, IGNORE]], ids=["class", "void", "mixed"])
def test_answered_points_win(root, labels):
    pool, _ = batch_of(root)
    answer, voxels, fullest = answered_voxel(pool, labels)
    _, batch = batch_of(root, {pool.ids[0]: [answer]})
    points = torch.nonzero(voxels.point_to_voxel == fullest)[:, 0]
    rows = batch["point_to_voxel"][points].unique()
    ours = Teacher(network(), TeacherConfig(pseudo_labels=1.0, floor=0.0), ALONE)
    given = []
    ours.pseudo_labels = lambda p, free: given.append(free) or Teacher.pseudo_labels(ours, p, free)
    outputs = ours.network(batch).requires_grad_()
    found = ours.losses(batch, outputs, batch["target"], ours.network)
    sum(found.values()).backward()
    assert not given[0][rows].any() and given[0].sum() == len(batch["cells"]) - len(rows)
    assert not outputs.grad[rows].any(), "nothing is learnt there but the answer"
    assert outputs.grad.any()
    assert ours.counts[0].sum() == len(batch["point_to_voxel"]) - len(points)
    assert 0 < ours.counts[1].sum() <= ours.counts[0].sum()


def test_the_parts_of_its_loss_are_as_defined(root):
    _, batch = batch_of(root)
    student = network(seed=1)
    ours = Teacher(network(), TeacherConfig(pseudo_labels=2.0, consistency=3.0, floor=0.0), ALONE)
    outputs = student(batch)
    found = ours.losses(batch, outputs, batch["target"], student)
    wanted = ours.probabilities(batch)
    difference = (outputs.softmax(1) - wanted).square().sum(1).mean()
    torch.testing.assert_close(found["teacher_loss_consistency"], 3 * difference)
    sure = ours.thresholds.accept(*wanted.max(1))
    assert 0 < sure.sum() < len(sure)
    expected = torch.nn.functional.cross_entropy(
        outputs[sure], wanted[sure].argmax(1), label_smoothing=0.1
    )
    torch.testing.assert_close(found["teacher_loss_ce"], 2 * expected)


def test_a_batch_that_is_answered_throughout_teaches_nothing(root):
    _, batch = batch_of(root)
    ours = Teacher(network(), TeacherConfig(**{**BOTH, "view": "raw"}), ALONE)
    batch["target"] = torch.zeros_like(batch["target"])
    outputs = ours.network(batch).requires_grad_()
    found = ours.losses(batch, outputs, batch["target"], ours.network)
    assert all(value.item() == 0 for value in found.values())
    sum(found.values()).backward()
    assert not outputs.grad.any()


# Warnings


def test_what_goes_wrong_is_told():
    names = ["road", "car", "pole"]
    none, some, all_roads = np.array([[0, 0, 0], [9, 3, 1], [9, 0, 0]])
    assert remarks(some, some, none, names) == [] == remarks(none, none, none, names)
    (line,) = remarks(some, np.array([9, 3, 0]), some, names)
    assert "labelled any more as pole" in line
    (line,) = remarks(some, none, some, names)
    assert "training.teacher.floor" in line
    only, gone = remarks(all_roads, all_roads, some, names)
    assert "every label is road" in only and "car, pole" in gone


def test_a_run_whose_teacher_is_never_sure_says_so(root, tmp_path):
    told = Told()
    run(root, tmp_path / "run", teacher={**BOTH, "floor": 1.0}, reporter=told)
    assert [line for line in told.lines if "teacher, epoch 1" in line and "floor" in line]


# Runs


@pytest.mark.parametrize("setting", ["al", "asfda", "ada"])
def test_a_run_learns_from_it_and_logs_what_it_labelled(root, tmp_path, setting):
    init = None
    if setting != "al":
        train(tiny_config(root, "source_only", schedule={"epochs": 1}), tmp_path / "source")
        init = str(tmp_path / "source" / "checkpoints" / "epoch_1.pth")
    plain = run(root, tmp_path / "plain", setting, teacher={}, init=init)
    taught = run(root, tmp_path / "taught", setting, init=init)
    assert "teacher" not in plain and not same(plain["state_dict"], taught["state_dict"])
    assert taught["teacher"]["updates"] == 8
    with open(tmp_path / "taught" / "logs" / "vis_data" / "scalars.csv") as file:
        lines = [row for row in csv.DictReader(file) if row.get("teacher/labelled_percent")]
    assert len(lines) == 4
    for row in lines:
        shares = {k: float(v) for k, v in row.items() if k.startswith("teacher/")}
        total = shares.pop("teacher/labelled_percent")
        assert 0 < total <= 100 and sum(shares.values()) == pytest.approx(total)
        assert len(shares) == 19


def test_until_its_first_epoch_nothing_changes(root, tmp_path):
    late = run(root, tmp_path / "late", teacher={**BOTH, "from_epoch": 3})
    plain = run(root, tmp_path / "plain", teacher={})
    kept = [read_checkpoint(tmp_path / n / "checkpoints/epoch_3.pth") for n in ("late", "plain")]
    assert same(kept[0]["state_dict"], kept[1]["state_dict"])
    assert not same(late["state_dict"], plain["state_dict"])


@pytest.mark.parametrize("name", ["SPVCNN", "SalsaNext", "PolarNet"])
def test_every_network_takes_one(root, tmp_path, name):
    keys = {
        "SPVCNN": {"planes": [4, 4, 8, 8, 4], "blocks": 1},
        "SalsaNext": {"height": 16, "width": 64, "planes": [4, 4, 4, 4, 4], "neighbours": 3},
        "PolarNet": {"grid": [16, 16, 4], "point_planes": [8, 8], "planes": [8, 8, 8, 8, 8]},
    }[name]
    model = {"backbone": {"type": name, **keys}}
    if name != "SPVCNN":
        model |= {"voxel_size": 0.05, "features": "first"}
    found = run(
        root, tmp_path / "run", model=model, schedule={"epochs": 1}, active={"rounds_at": [0]}
    )
    assert found["teacher"]["counts"].sum() == 0 and found["teacher"]["before"].sum() > 0


@pytest.mark.parametrize("step", [1, 3, 6])
@pytest.mark.parametrize("schedule", [{}, {"accumulate": 2, "batch_size": 1, "ema": 0.5}])
def test_a_run_stopped_at_any_step_goes_on_with_the_same_teacher(
    root, tmp_path, monkeypatch, step, schedule
):
    config = tiny_config(root, training={"teacher": BOTH}, schedule=schedule)
    train(config, tmp_path / "whole")
    with stopped_after(step):
        train(config, tmp_path / "broken")
    train(config, tmp_path / "broken", resume=True)
    whole, broken = (
        read_checkpoint(tmp_path / name / "checkpoints" / "epoch_4.pth")
        for name in ("whole", "broken")
    )
    for part in ("state_dict", "teacher_state_dict", "teacher", "optimizer"):
        assert same(whole[part], broken[part]), part
    lines = [
        [line for line in csv.DictReader(file) if line["teacher/labelled_percent"]]
        for name in ("whole", "broken")
        for file in [(tmp_path / name / "logs" / "vis_data" / "scalars.csv").open()]
    ]
    assert lines[0] == lines[1] and len(lines[0]) == 4


def test_the_processes_that_read_scans_change_no_bit(root, tmp_path):
    one, other = (run(root, tmp_path / str(n), schedule={"workers": n}) for n in (0, 2))
    assert same(one["state_dict"], other["state_dict"])
    assert same(one["teacher_state_dict"], other["teacher_state_dict"])


def test_several_processes_have_one_teacher(root, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root, training={"teacher": BOTH})))
    codes = run_ranks(2, case.train_with_teacher, path, tmp_path / "run", log=tmp_path / "log")
    assert codes == [0, 0], (tmp_path / "log.0").read_text()
    found = {p.read_text() for p in tmp_path.glob("run.teacher.*")}
    assert len(list(tmp_path.glob("run.teacher.*"))) == 2 and len(found) == 1


def test_it_uses_no_label_that_nobody_has_given(root, tmp_path):
    """The zero-label control, once with the labels of the target and once with others."""
    train(tiny_config(root, "source_only", schedule={"epochs": 1}), tmp_path / "source")
    init = str(tmp_path / "source" / "checkpoints" / "epoch_1.pth")
    found = []
    for name in ("true", "garbage"):
        if name == "garbage":
            for path in (root / "sequences").glob("0[01]/labels/*.label"):
                path.write_bytes(np.full(len(path.read_bytes()) // 4, 10, "<u4").tobytes())
        control = run(
            root, tmp_path / name, "ada", init=init, active={"rounds_at": []}, data={"val": None}
        )
        found.append(control)
    assert same(found[0]["state_dict"], found[1]["state_dict"])
    assert same(found[0]["teacher_state_dict"], found[1]["teacher_state_dict"])


# What is refused


@pytest.mark.parametrize("setting", ["source_only", "target_only"])
def test_it_is_refused_where_all_labels_are_trained_on(root, setting):
    with pytest.raises(ConfigError, match=f"training.teacher: setting {setting} trains on all"):
        tiny_config(root, setting, training={"teacher": BOTH})


def test_online_selection_and_a_start_after_the_end_are_refused(root):
    with pytest.raises(ConfigError, match=r"training.teacher: online .* active.when=round"):
        tiny_config(root, training={"teacher": BOTH}, active={"when": "online"})
    with pytest.raises(ConfigError, match=r"training.teacher.from_epoch: .* only 4 epochs"):
        tiny_config(root, training={"teacher": {**BOTH, "from_epoch": 4}})


def test_a_checkpoint_without_a_teacher_is_refused(root, tmp_path):
    config = tiny_config(root, training={"teacher": BOTH})
    train(config, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "epoch_4.pth"
    content = read_checkpoint(path)
    del content["teacher_state_dict"]
    torch.save(content, path)
    longer = copy.deepcopy(config)
    longer.schedule.epochs = 5
    with pytest.raises(ValueError, match="holds no teacher.*another --work-dir"):
        train(longer, tmp_path / "run", resume=True)
