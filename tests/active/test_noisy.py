"""Simulated people err as often as they are told to, the same way every time."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest
import resumed_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import ended, start
from tiny_runs import tiny_config

from annotator3d.active.human_errors import blur_borders
from annotator3d.active.noisy_oracle import NoisyOracle
from annotator3d.active.oracle import answer_open_queries
from annotator3d.cli import main as cli
from annotator3d.data.scan import Scan
from annotator3d.engine.config.load import dump_config, find_config, load_config, make_config
from annotator3d.engine.run import train
from annotator3d.errors import ConfigError
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.effort import round_costs
from annotator3d.ledger.ledger import Ledger, Query

NAMES = ["car", "road", "tree", "pole", "person"]
RATES = ("border", "range", "dominant")


def scan_of(xyz, labels, name="00/0"):
    xyz = np.asarray(xyz, np.float32)
    return Scan.from_raw(name, xyz, np.zeros(len(xyz), np.float32), np.asarray(labels, np.uint8))


def query_of(number, scan, rows):
    return Query(number, 1, scan.id, (number, 0, 0), 0, 0.0, len(rows))


def ask(oracle, scan, voxels):
    """The answers about many voxels of a scan, each given by its rows."""
    return [oracle.answer(query_of(i, scan, rows), scan, rows) for i, rows in enumerate(voxels)]


def within(count, of, rate):
    """Whether a count fits a rate: five standard deviations of the binomial distribution."""
    return abs(count - of * rate) <= 5 * math.sqrt(of * rate * (1 - rate)) + 1e-9


def uniform(count, label=0, metres=5.0):
    """A scan of voxels of one class with four points each, at a distance from the sensor."""
    angle = np.repeat(np.linspace(0, 2 * np.pi, count, endpoint=False), 4)
    xyz = np.stack([metres * np.cos(angle), metres * np.sin(angle), 0 * angle], 1)
    voxels = np.arange(4 * count).reshape(count, 4)
    # two far points of other classes, so that there is something to confuse a voxel with
    xyz = np.concatenate([xyz, [[0, 0, 900], [0, 0, 901]]])
    return scan_of(xyz, [label] * 4 * count + [1, 2]), voxels


@st.composite
def any_scan(draw):
    seed, points = draw(st.integers(0, 99)), draw(st.integers(1, 30))
    random = np.random.default_rng(seed)
    labels = random.choice([0, 1, 2, 3, 4, 255], points)
    scan = scan_of(random.normal(0, 0.3, (points, 3)), labels)
    return scan, np.array_split(random.permutation(points), draw(st.integers(1, points)))


@given(any_scan(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_without_noise_the_answer_is_the_truth(case, seed):
    scan, voxels = case
    confusion = {"car": {"tree": 0.0}}
    oracle = NoisyOracle(confusion=confusion, fatigue=3.0, seed=seed, class_names=NAMES)
    for rows, answer in zip(voxels, ask(oracle, scan, voxels), strict=True):
        assert answer.kind == "answer" and answer.labels.tolist() == scan.labels[rows].tolist()


@given(
    any_scan(),
    st.fixed_dictionaries({rate: st.sampled_from([0.0, 0.3, 1.0]) for rate in RATES}),
    st.sampled_from([0.0, 5.0]),
)
@settings(max_examples=40, deadline=None)
def test_answers_are_classes_ignored_points_stay_and_repeats_agree(case, rates, fatigue):
    scan, voxels = case
    confusion = {name: {other: 0.2 for other in NAMES if other != name} for name in NAMES}
    noise = {**rates, "confusion": confusion, "near": 0.0, "far": 0.5, "stretch": 3}
    oracle = NoisyOracle(**noise, fatigue=fatigue, seed=1, class_names=NAMES)
    answers = ask(oracle, scan, voxels)
    for rows, answer, again in zip(voxels, answers, ask(oracle, scan, voxels), strict=True):
        known = scan.labels[rows] != 255
        assert ((answer.labels != 255) == known).all()
        assert set(answer.labels[known].tolist()) <= set(range(len(NAMES)))
        assert answer.labels.tolist() == again.labels.tolist()
        assert (answer.seconds, answer.clicks) == (again.seconds, again.clicks)


def blurred_by_hand(labels, scan, rows, distance, hit):
    """Every point against every other one, in the order of the file."""
    found = labels.copy()
    xyz = scan.xyz.astype(np.float64)
    for i in np.flatnonzero(hit & (labels != 255)):
        squared = ((xyz - xyz[rows[i]]) ** 2).sum(1)
        squared[(scan.labels == labels[i]) | (scan.labels == 255)] = np.inf
        if squared.min() <= distance**2:
            found[i] = scan.labels[squared.argmin()]
    return found


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.1, 0.2]), st.booleans())
@settings(max_examples=60)
def test_a_border_takes_the_nearest_other_class_the_first_of_equally_near(seed, distance, grid):
    random = np.random.default_rng(seed)
    points = int(random.integers(1, 60))
    # on a grid many are equally near; none is at the origin, where a beam without a return is
    xyz = random.integers(1, 5, (points, 3)) * 0.1 if grid else random.normal(0, 0.1, (points, 3))
    scan = scan_of(xyz, random.choice([0, 1, 2, 255], points))
    rows = random.permutation(points)[: random.integers(1, points + 1)]
    labels = scan.labels[rows]
    hit = np.random.default_rng(seed).random(len(rows)) < 0.7
    found = blur_borders(labels, scan, rows, distance, 0.7, np.random.default_rng(seed))
    assert found.tolist() == blurred_by_hand(labels, scan, rows, distance, hit).tolist()


def test_a_class_is_confused_as_often_as_said_and_the_whole_part_with_it():
    scan, voxels = uniform(1500)
    confusion = {"car": {"tree": 0.2, "pole": 0.05}, "road": {"car": 0.9}}
    oracle = NoisyOracle(confusion=confusion, class_names=NAMES)
    given = [np.unique(answer.labels).tolist() for answer in ask(oracle, scan, voxels)]
    assert all(len(labels) == 1 for labels in given)
    counts = {label: given.count([label]) for label in range(5)}
    assert within(counts[2], 1500, 0.2) and within(counts[3], 1500, 0.05)
    assert counts[0] + counts[2] + counts[3] == 1500


@pytest.mark.parametrize(("metres", "rate"), [(9.0, 0.0), (30.0, 0.2), (50.0, 0.4), (80.0, 0.4)])
def test_errors_at_range_grow_with_the_distance(metres, rate):
    scan, voxels = uniform(1000, metres=metres)
    answers = ask(NoisyOracle(range=0.4, near=10.0, far=50.0), scan, voxels)
    wrong = [int(answer.labels[0]) for answer in answers if answer.labels[0] != 0]
    assert within(len(wrong), 1000, rate)
    # other classes of the scan, each as often
    assert set(wrong) <= {1, 2} and within(wrong.count(1), len(wrong), 0.5)


def test_a_mixed_voxel_gets_its_most_frequent_class_as_often_as_said():
    labels = [3, 3, 1, 255] * 3000
    scan = scan_of(np.arange(36000).reshape(-1, 3), labels)
    answers = ask(NoisyOracle(dominant=0.3), scan, np.arange(12000).reshape(-1, 4))
    flat = [answer.labels.tolist() for answer in answers]
    assert within(flat.count([3, 3, 3, 255]), 3000, 0.3)
    assert flat.count([3, 3, 3, 255]) + flat.count([3, 3, 1, 255]) == 3000
    tie = scan_of(np.ones((2, 3)), [4, 2])
    assert ask(NoisyOracle(dominant=1.0), tie, [np.arange(2)])[0].labels.tolist() == [2, 2]


def test_points_at_a_border_take_the_nearest_other_class():
    random = np.random.default_rng(0)
    scan = scan_of(random.uniform(0, 1, (3000, 3)), random.choice([0, 1, 255], 3000))
    voxels = np.arange(3000).reshape(-1, 10)
    distance = 0.06
    expected = scan.labels.copy()
    near = np.zeros(3000, bool)
    for i, (point, label) in enumerate(zip(scan.xyz.astype(float), scan.labels, strict=True)):
        others = np.flatnonzero((scan.labels != label) & (scan.labels != 255))
        apart = np.sqrt(((scan.xyz[others].astype(float) - point) ** 2).sum(1))
        if label != 255 and apart.min() <= distance:
            expected[i], near[i] = scan.labels[others[apart.argmin()]], True
    assert 200 < near.sum() < 1800  # some are near a border, some are not

    def labels(rate):
        oracle = NoisyOracle(border=rate, border_distance=distance)
        return np.concatenate([answer.labels for answer in ask(oracle, scan, voxels)])

    assert labels(1.0).tolist() == expected.tolist()
    quarter = labels(0.25) != scan.labels
    assert not quarter[~near].any() and within(quarter.sum(), near.sum(), 0.25)
    # who errs at a low rate errs at a higher one too
    assert not (quarter & (labels(0.5) == scan.labels)).any()


def test_some_voxels_are_skipped_or_left_as_unsure():
    scan, voxels = uniform(1500)
    answers = ask(NoisyOracle(skip=0.1, unsure=0.03, annotator="tim"), scan, voxels)
    kinds = [answer.kind for answer in answers]
    assert within(kinds.count("skip"), 1500, 0.1) and within(kinds.count("unsure"), 1500, 0.03)
    passed = [answer for answer in answers if answer.kind != "answer"]
    assert all(a.labels is None and a.seconds > 0 and a.clicks == 1 for a in passed)
    assert {answer.annotator for answer in answers} == {"tim"}


def test_errors_grow_until_the_break():
    scan, voxels = uniform(3000)
    confusion = {"car": {"tree": 0.1}}
    oracle = NoisyOracle(confusion=confusion, fatigue=6.0, stretch=1000, class_names=NAMES)
    wrong = np.array([answer.labels[0] == 2 for answer in ask(oracle, scan, voxels)])
    early, late = wrong.reshape(3, 10, 100).sum((0, 2))[[0, -1]]
    assert within(early, 300, 0.1 * (1 + 6 * 0.05)) and within(late, 300, 0.1 * (1 + 6 * 0.95))


def test_a_lone_voxel_takes_base_and_class_a_mixed_one_more():
    rows, flat, mixed = np.arange(4), scan_of(np.ones((4, 3)), [0] * 4), [0, 1, 2, 2]
    costs = {"base_seconds": 2.0, "class_seconds": 1.5, "click_seconds": 1.0}
    steady = NoisyOracle(spread=0.0, **costs)
    (one,) = ask(steady, flat, [rows])
    (three,) = ask(steady, scan_of(np.ones((4, 3)), mixed), [rows])
    assert (one.clicks, one.seconds) == (1, 3.5)
    assert (three.clicks, three.seconds) == (4, 2.0 + 3 * 1.5 + 3 * 1.0)
    scan, voxels = uniform(1000)
    seconds = [answer.seconds for answer in ask(NoisyOracle(spread=0.4, **costs), scan, voxels)]
    logs = np.log(seconds) - np.log(3.5)
    assert abs(logs.mean()) < 5 * 0.4 / math.sqrt(1000) and abs(logs.std() - 0.4) < 0.05


def test_another_seed_errs_elsewhere_and_other_errors_do_not_shift_it():
    scan, voxels = uniform(300)
    noise = {"confusion": {"car": {"tree": 0.3}}, "class_names": NAMES}

    def labels(**more):
        return [
            answer.labels.tolist() for answer in ask(NoisyOracle(**noise, **more), scan, voxels)
        ]

    assert labels(seed=1) != labels(seed=2)
    assert labels(seed=1) == labels(seed=1, border=1.0, border_distance=0.01, spread=0.0)


@pytest.mark.parametrize(
    ("oracle", "words"),
    [
        ({"type": "nosy"}, "active.oracle.type: unknown .*did you mean 'noisy'"),
        ({"type": "noisy", "bordr": 0.1}, "'active.oracle.bordr': did you mean 'border'"),
        ({"border": 0.1}, "active.oracle.type: .*needs the key 'type'"),
        ({"type": "truth", "border": 0.1}, "unknown key 'active.oracle.border'"),
        ({"type": "noisy", "border": 1.5}, "active.oracle.border: expected a probability"),
        ({"type": "noisy", "dominant": "x"}, "active.oracle.dominant: expected a prob.*got 'x'"),
        ({"type": "noisy", "fatigue": -1}, "active.oracle.fatigue: expected a number from 0"),
        ({"type": "noisy", "spread": float("nan")}, "active.oracle.spread: expected a number"),
        ({"type": "noisy", "far": 5.0}, "active.oracle.far: expected metres above near"),
        ({"type": "noisy", "stretch": 0}, "active.oracle.stretch: expected an integer from 1"),
        ({"type": "noisy", "skip": 0.6, "unsure": 0.6}, "active.oracle.skip: .*more than 1"),
        ({"type": "noisy", "annotator": ""}, "active.oracle.annotator: expected a name"),
        ({"type": "noisy", "confusion": ["car"]}, "active.oracle.confusion: expected {class"),
        ({"type": "noisy", "confusion": {"car": 1}}, "active.oracle.confusion.car: expected"),
        ({"type": "noisy", "confusion": {"car": {"bus": 2}}}, "confusion.car.bus: expected a prob"),
        ({"type": "noisy", "confusion": {"car": {"car": 0.1}}}, "confusion.car: expected other"),
        (
            {"type": "noisy", "class_names": ["car"]},
            "active.oracle: class_names: they come from the data",
        ),
        (3, "active.oracle: expected a name, or a table of keys with a 'type', got 3"),
    ],
)
def test_mistakes_in_the_config_are_named(oracle, words):
    with pytest.raises(ConfigError, match=words):
        make_config({"active": {"oracle": oracle}})


def test_the_command_line_sets_and_keeps_what_the_person_is_like(tmp_path):
    path = find_config("ada/streets_demo")
    keys = ["active.oracle.type=noisy", "active.oracle.border=1e-1"]
    config = load_config(path, [*keys, "active.oracle.confusion.car.truck=0.2"])
    wanted = {"type": "noisy", "border": 0.1, "confusion": {"car": {"truck": 0.2}}}
    assert config.active.oracle == wanted and config.active.oracle_name == "noisy"
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "c.yaml") == config
    assert load_config(path, ["active.oracle.type=truth"]) == load_config(path)  # one run, not two
    for level in ("noise_light", "noise_heavy"):
        assert load_config(path, [f"variant={level}"]).active.oracle_name == "noisy"


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


NOISE = {
    "type": "noisy",
    "border": 0.5,
    "border_distance": 3.0,
    "dominant": 0.5,
    "fatigue": 3.0,
    "unsure": 0.2,
    "confusion": {"road": {"car": 0.5}},
}


def test_a_run_killed_while_it_was_answered_ends_as_the_unbroken_one(root, tmp_path):
    path, log = tmp_path / "c.yaml", tmp_path / "log"
    schedule = {"epochs": 1, "evaluate_at": []}
    active = {"oracle": NOISE, "queries_per_scan": 4, "rounds_at": [0]}
    path.write_text(dump_config(tiny_config(root, schedule=schedule, active=active)))
    killed = start(
        resumed_runs.die_at_answer, str(path), str(tmp_path / "broken"), 7, env={}, log=log
    )
    assert ended(killed) == -signal.SIGKILL, log.read_text()
    with Ledger.read(tmp_path / "broken" / "ledger.sqlite") as ledger:
        assert len(ledger.events()) == 7 and ledger.open_queries()
    for name, more in (("broken", ["--resume"]), ("whole", [])):
        assert cli.main(["train", str(path), "--work-dir", str(tmp_path / name), *more]) == 0
    with Ledger.read(tmp_path / "whole" / "ledger.sqlite") as ledger:
        whole, meters = ledger.export_canonical(), round_costs(ledger)
        effort = [(e.answer.seconds, e.answer.clicks) for e in ledger.events()]
    with Ledger.read(tmp_path / "broken" / "ledger.sqlite") as ledger:
        assert ledger.export_canonical() == whole
        assert [(e.answer.seconds, e.answer.clicks) for e in ledger.events()] == effort
    assert '"response": "unsure"' in whole and '"annotator": "noisy"' in whole
    assert all(meter.seconds > 0 and meter.clicks >= meter.voxels for meter in meters)


def test_tiredness_goes_on_from_the_ledger(tmp_path):
    """Half of the answers by one process, half by another: as by one."""
    scan, voxels = uniform(12)
    cells = rows_by_cell(scan)
    noise = {"confusion": {"car": {"tree": 0.1}}, "fatigue": 9.0, "stretch": 12, "seed": 3}

    def answers(name, *parts):
        with Ledger.open(tmp_path / name, NAMES, "digest") as ledger:
            ledger.register_scan(scan.id, "file", scan.num_raw)
            for number, part in enumerate(parts, start=1):
                picks = [VoxelPick(cell, 0.0, len(rows), rows) for cell, rows in part]
                ledger.add_round(number, "random", 0, 20, {scan.id: picks})
                oracle = NoisyOracle(**noise, class_names=NAMES)
                answer_open_queries(ledger, oracle, lambda scan_id: scan)
            return [answer.labels.tolist() for _, answer in ledger.responses()]

    whole = answers("whole", cells)
    assert answers("halves", cells[:6], cells[6:]) == whole
    assert answers("late", cells[6:]) != whole[6:]  # rested, they answer otherwise


def rows_by_cell(scan):
    found = {}
    for row, point in enumerate(scan.xyz):
        found.setdefault(tuple(np.floor(point / np.float32(0.25)).astype(int).tolist()), []).append(
            row
        )
    return [(cell, np.array(rows)) for cell, rows in found.items()]


def test_a_class_that_the_task_lacks_is_refused_before_anything_is_written(root, tmp_path, capsys):
    oracle = {"type": "noisy", "confusion": {"car": {"lorry": 0.1}}}
    config = tiny_config(root, active={"oracle": oracle})
    (tmp_path / "c.yaml").write_text(dump_config(config))
    work_dir = str(tmp_path / "run")
    assert cli.main(["train", str(tmp_path / "c.yaml"), "--work-dir", work_dir]) == 2
    said = capsys.readouterr().err
    assert "active.oracle.confusion.car: unknown class 'lorry'" in said
    assert not (tmp_path / "run").exists()


def test_nobody_is_simulated_on_scans_without_labels(root, tmp_path):
    for path in (root / "sequences" / "00" / "labels").glob("*"):
        path.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match="label"):
        train(tiny_config(root, active={"oracle": NOISE}), tmp_path / "run")
    scan = Scan.from_raw("00/0", np.zeros((1, 3), np.float32), np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="has no label file, so nobody can be simulated"):
        ask(NoisyOracle(), scan, [np.arange(1)])


def test_an_oracle_is_told_what_was_answered_before(tmp_path):
    begun = []

    class Listening(NoisyOracle):
        def begin(self, ledger):
            begun.append(len(ledger.events()))

    with Ledger.open(tmp_path / "ledger.sqlite", NAMES, "digest") as ledger:
        answer_open_queries(ledger, Listening(), read_scan=None)
    assert begun == [0]
