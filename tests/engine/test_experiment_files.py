"""The file of an experiment: what it says, and how a wrong one is refused."""

from __future__ import annotations

import pytest
import yaml
from tiny_experiments import write_experiment

from annotator3d.analysis.compare.plan import load_plan
from annotator3d.engine.config.experiment import (
    difference,
    find_experiment,
    read_experiment,
    settings_of,
)
from annotator3d.errors import ConfigError


@pytest.fixture
def write(tmp_path, make_kitti):
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=200)
    return lambda **changes: write_experiment(tmp_path, root, **changes)


def plan_of(file):
    return load_plan(file, file.parent / "out")


def test_runs_come_pair_by_pair_and_those_that_others_start_from_first(write):
    plan = plan_of(write(arms={"random": {}, "vcd": {}, "none": {"control": True}}))
    assert [run.name for run in plan.runs] == [
        f"{name}/seed-{seed}"
        for seed in (0, 1)
        for name in ("source", "ada/random", "ada/vcd", "ada/none")
    ]
    assert {run.job.starts_from for run in plan.runs if run.arm} == {
        "source/seed-0",
        "source/seed-1",
    }
    control = plan.runs[3].job.config
    assert control.active.rounds_at == [] and control.seed == 0


def test_overrides_go_from_the_experiment_to_the_task_to_the_arm(write):
    plan = plan_of(
        write(
            overrides={"schedule": {"epochs": 5, "batch_size": 1}, "active.stride": 2},
            tasks={"al": {"config": "configs/al.yaml", "overrides": {"schedule.epochs": 6}}},
            arms={
                "a": {"overrides": {"active.oracle": {"type": "noisy", "border": 0.1}}},
                "b": {"overrides": {"schedule": {"epochs": 7}}},
            },
            against="a",
        )
    )
    a, b = (run.job.config for run in plan.runs[:2])
    assert (a.schedule.epochs, b.schedule.epochs) == (6, 7)
    assert (a.schedule.batch_size, a.active.stride) == (1, 2)
    assert a.active.oracle == {"type": "noisy", "border": 0.1} and b.active.oracle == "truth"


@pytest.mark.parametrize(
    ("arms", "test", "pairs"),
    [(2, "sign-flip", 6), (3, "sign-flip", 7), (7, "sign-flip", 8), (7, "t", 5)],
)
def test_by_default_there_are_as_many_pairs_as_the_test_needs(write, arms, test, pairs):
    names = {f"arm{i}": {"overrides": {"active.stride": i + 1}} for i in range(arms)}
    plan = plan_of(write(arms=names, against="arm0", pairs=None, test=test, first_seed=7))
    assert plan.seeds == list(range(7, 7 + pairs))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"paris": 3}, "unknown key 'paris': did you mean 'pairs'"),
        ({"pairs": 0}, "pairs: expected at least 1, got 0"),
        ({"pairs": "five"}, "pairs: expected an integer, got 'five'"),
        ({"name": None}, "the key 'name' is missing"),
        ({"arms": {"a": {"override": {}}}}, "unknown key 'arms.a.override': did you mean 'overr"),
        ({"arms": {"a": {}, "b/c": {}}}, "arms: 'b/c' becomes the name of a folder"),
        ({"arms": {"random": {}}}, "arms: expected a second one"),
        ({"against": "rundom"}, "against: unknown 'rundom': did you mean 'random'"),
        ({"against": None}, "expected one of against: ARM"),
        ({"compare": [["vcd", "random"]]}, "expected one of against: ARM"),
        ({"against": None, "compare": [["vcd"]]}, "compare: expected two arms, got"),
        ({"against": None, "compare": [["vcd", "x"]]}, "compare: unknown 'x'"),
        ({"measure": "best"}, "measure: expected end or area, got 'best'"),
        ({"axes": ["voxels", "voxels"]}, "axes: expected each axis once"),
        ({"axes": ["euros"]}, "axes: expected voxels, labelled_points, clicks or seconds"),
        ({"sequential": {"group": 2, "looks": 3}}, "pairs: sequential says how many"),
        ({"sequential": {"group": 2}, "pairs": None}, "the key 'sequential.looks' is missing"),
        (
            {
                **{"pairs": None, "sequential": {"group": 2, "looks": 3}, "against": None},
                **{"arms": {"a": {}, "b": {}, "c": {}}, "compare": [["a", "b"]]},
            },
            "arms.c: no comparison has it",
        ),
        ({"calibrate": {"arm": "x"}}, "calibrate.arm: unknown 'x'"),
        ({"overrides": {"seed": 3}}, "overrides.seed: `pairs` and `first_seed` give the seeds"),
        ({"overrides": {"a=b": 3}}, "overrides: expected a key of a config, got 'a=b'"),
        ({"overrides": {"schedule.epochs": float("nan")}}, "schedule.epochs: expected text, numb"),
        (
            {"arms": {"random": {}, "x": {"overrides": {"active.strategi": "vcd"}}}},
            "arms.x, tasks.ada: unknown key 'active.strategi': did you mean 'strategy'",
        ),
        (
            {"arms": {"random": {}, "x": {"overrides": {"active.strategy": "vdc"}}}},
            "arms.x, tasks.ada: .*did you mean 'vcd'",
        ),
        (
            {"arms": {"random": {}, "x": {"overrides": {"setting": "target_only"}}}},
            "an arm asks questions; expected no setting target_only",
        ),
        (
            {"arms": {"random": {}, "x": {"overrides": {"active.oracle": "person"}}}},
            "arms.x, tasks.ada: active.oracle 'person' waits for a person",
        ),
        (
            {"arms": {"random": {}, "x": {"tasks": ["source"]}}},
            "arms.x.tasks: source asks no questions",
        ),
        (
            {"arms": {"random": {}, "x": {"control": True, "overrides": {"active.rounds_at": []}}}},
            "arms.x: a control has no round",
        ),
        ({"tasks": {"ada": {"config": "configs/ada.yaml"}}}, "tasks.ada: ada starts from a source"),
        (
            {"tasks": {"al": {"config": "configs/al.yaml", "starts_from": "la"}}},
            "tasks.al.starts_from: unknown 'la': did you mean 'al'",
        ),
        (
            {"tasks": {"al": {"config": "configs/all.yaml"}}},
            "no config file configs/all.yaml",
        ),
        (
            {"tasks": {"source": {"config": "configs/source.yaml"}}},
            "expected one that asks questions",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_words(write, changes, words):
    with pytest.raises(ConfigError, match=words):
        plan_of(write(**changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "expected a table of keys, got a list"),
        ("name: [", "is not YAML"),
        ("name: a\nname: b\n", "the key 'name' is there twice"),
        ("name: !!python/object/apply:os.system ['true']\n", "is not YAML of plain values"),
    ],
)
def test_what_is_no_table_of_plain_values_is_refused(tmp_path, text, words):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_experiment(file)


def test_a_config_that_is_a_program_does_not_run(write):
    file = write(tasks={"al": {"config": "mine.py"}})
    ran = file.parent / "ran"
    (file.parent / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nsetting = 'al'\n")
    with pytest.raises(ConfigError, match="a config in Python is a program"):
        plan_of(file)
    assert not ran.exists()


@pytest.mark.parametrize(
    "overrides",
    [
        {"custom_imports.imports": ["mine.py"]},
        {"custom_imports": {"imports": ["mine.py"]}},
        {"custom_imports": {"type": "x", "imports": ["mine.py"]}},
    ],
)
@pytest.mark.parametrize("place", ["all", "task", "arm"])
def test_an_experiment_cannot_name_code(write, overrides, place):
    table = {"overrides": overrides}
    tasks = {"al": {"config": "al/streets_demo", **(table if place == "task" else {})}}
    arms = {"random": {}, "mine": table if place == "arm" else {}}
    file = write(tasks=tasks, arms=arms, **(table if place == "all" else {}))
    ran = file.parent / "ran"
    (file.parent / "mine.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(ConfigError, match="an experiment runs no code"):
        plan_of(file)
    assert not ran.exists()


def test_nested_and_dotted_keys_mean_the_same():
    nested = settings_of({"active": {"strategy": "vcd", "rounds_at": [0, 2]}})
    assert nested == settings_of({"active.strategy": "vcd", "active.rounds_at": [0, 2]})
    assert nested == ['active.strategy="vcd"', "active.rounds_at=[0, 2]"]


def test_the_difference_of_two_files_names_arms_and_keys(write):
    one = read_experiment(write())
    values = yaml.safe_load(write().read_text())
    values["arms"]["third"] = {}
    other = read_experiment(write(arms=values["arms"], pairs=3, bets=[]))
    assert difference(one, other) == ["arms.third", "bets", "pairs"]
    assert difference(one, one) == []


def test_an_installed_experiment_is_found_by_its_name():
    assert read_experiment(find_experiment("experiments/streets_demo")).against == "random"
    with pytest.raises(ConfigError, match="did you mean 'experiments/streets_demo'"):
        find_experiment("experiments/street_demo")


def test_the_experiment_on_recipes_crosses_them_with_strategies(tmp_path):
    """With one pair; the plan of all pairs is made in the same way."""
    file = tmp_path / "recipes.yaml"
    text = find_experiment("experiments/recipes_streets").read_text()
    file.write_text(text.replace("pairs: 8", "pairs: 1"))
    runs = [run.job.config for run in plan_of(file).runs if run.arm]
    crossed = {(c.setting, c.active.strategy, *c.training.levers()) for c in runs}
    for setting in ("al", "asfda", "ada"):
        for strategy in ("vcd", "geometry_random"):
            for levers in ((), ("mix",), ("teacher",), ("propagate",)):
                assert (setting, strategy, *levers) in crossed
            assert (setting, strategy, "propagate", "mix", "teacher") in crossed
    adapted = {c.setting for c in runs if c.training.adapt.epochs and c.training.levers()}
    assert adapted == {"asfda", "ada"}
    assert {c.schedule.source_until for c in runs if c.setting == "ada"} == {7}
