"""What a ledger's answers took and what is left: from the events alone, on the command line."""

from __future__ import annotations

import json
import re
import signal

import numpy as np
import pytest
import resumed_runs
from processes import ended, start
from tiny_runs import tiny_config

from annotator3d.analysis.costs import cost_of
from annotator3d.cli import main as cli
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.run import train
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.effort import effort_by_query, round_cost
from annotator3d.ledger.ledger import Answer, Ledger

NAMES = ["car", "road", "tree"]


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", NAMES, "digest") as ledger:
        ledger.register_scan("00/000000", "file", 9999)
        yield ledger


def ask(ledger, number, sizes, x=0):
    rows = [np.arange(size) for size in sizes]
    picks = [VoxelPick((x + i, number, 0), 1.0, len(r), r) for i, r in enumerate(rows)]
    queries = ledger.add_round(number, "random", 0, len(sizes), {"00/000000": picks})
    return [query.id for query in queries]


def draft(ledger, query, labels, who, seconds):
    from annotator3d.ledger.actions import EventDraft

    answer = Answer("draft", np.array(labels, np.uint8), seconds=seconds, clicks=1)
    ledger.act([EventDraft(query, answer, None, None)], annotator=who)


def answer_many(ledger, count, random, who=("anna", "ben"), **more):
    """A round of answers whose time grows with the points and with the classes."""
    sizes = random.integers(1, 60, count).tolist()
    for query, size in zip(ask(ledger, len(ledger.rounds()) + 1, sizes), sizes, strict=True):
        labels = random.integers(0, random.integers(1, 4), size)
        seconds = (2 + size / 10 + 3 * len(np.unique(labels))) * np.exp(random.normal(0, 0.2))
        name = who[query % len(who)]
        ledger.answer(query, labels, annotator=name, seconds=seconds, clicks=2, **more)


def cost(tmp_path, capsys, *options):
    capsys.readouterr()
    assert cli.main(["cost", str(tmp_path), *options]) == 0
    return capsys.readouterr().out


def test_drafts_second_looks_and_reviews_count_once_for_who_spent_them(ledger):
    first, second, third, _open = ask(ledger, 1, [2, 2, 2, 2])
    draft(ledger, first, [0, 254], "anna", 3.0)
    ledger.answer(first, [0, 1], annotator="anna", seconds=5.0, clicks=3)  # the draft's 3 s too
    ledger.undo(first, annotator="anna")
    ledger.answer(first, [2, 2], annotator="anna", seconds=1.5, clicks=1)
    ledger.answer(first, [0, 0], annotator="ben", seconds=2.0, clicks=1)
    draft(ledger, second, [0, 254], "ben", 4.0)  # not finished yet
    ledger.answer(third, [0, 1], annotator="truth")
    work = {(each.query.id, each.annotator): each for each in effort_by_query(ledger)}
    assert {key: (w.seconds, w.clicks, w.answered) for key, w in work.items()} == {
        (first, "anna"): (6.5, 4, True),
        (first, "ben"): (2.0, 1, True),
        (second, "ben"): (4.0, 1, False),
        (third, "truth"): (None, 0, True),
    }
    assert work[first, "anna"].classes == 1 and work[third, "truth"].classes == 2
    assert round_cost(ledger, 1).seconds == 12.5
    spent = cost_of(ledger, ledger.path.parent / "rounds")["spent"]
    assert spent == {"voxels": 2, "points": 4, "answers": 3, "clicks": 6, "seconds": 12.5}


def test_answering_anew_takes_time_but_makes_no_answer_longer(ledger, tmp_path, capsys):
    queries = ask(ledger, 1, [2] * 4)
    for query in queries:
        ledger.answer(query, [0, 1], annotator="anna", seconds=6.0)

    def anna():
        (found,) = json.loads(cost(tmp_path, capsys, "--json"))["people"]
        return found["answers"], found["voxels"], found["seconds"], found["seconds_per_answer"]

    assert anna() == (4, 4, 24.0, 6.0)
    for query in queries[:2]:  # as of a correction, or of a class that was split
        ledger.answer(query, [0, 2], annotator="anna", seconds=6.0)
    assert anna() == (6, 4, 36.0, 6.0)
    ledger.undo(queries[0], annotator="anna")  # its time was spent all the same
    assert anna() == (5, 4, 36.0, 7.2)
    with ledger.transaction():
        first = ledger.outcome(queries[0]).effective.id
        ledger.append(queries[0], Answer("approve", None, "anna", seconds=9.0), first)
    assert anna() == (5, 4, 45.0, 7.2)
    assert "7.2 s" in cost(tmp_path, capsys)


def test_an_automatic_oracle_is_no_person(ledger, tmp_path, capsys):
    for query in ask(ledger, 1, [2] * 40):
        ledger.answer(query, [0, 1], annotator="truth")
    out = cost(tmp_path, capsys)
    assert "no answer was timed: truth is not a person" in out and "held out" not in out
    found = json.loads(cost(tmp_path, capsys, "--json"))
    assert found["model"] is None and found["spent"]["seconds"] is None
    assert found["people"][0]["seconds_per_answer"] is None


def test_below_the_least_number_of_answers_nothing_is_predicted(ledger, tmp_path, capsys):
    answer_many(ledger, 29, np.random.default_rng(0))
    ask(ledger, 2, [3] * 5)
    out = cost(tmp_path, capsys)
    assert "5 answers about 5 voxels wait\n" in out
    assert "too few answers to predict from: 29 were timed, 30 are needed" in out
    ledger.answer(ledger.open_queries()[0].id, [0] * 3, annotator="anna", seconds=4.0)
    assert "4 answers about 4 voxels wait: " in cost(tmp_path, capsys)


def test_what_was_spent_and_what_remains_is_told(ledger, tmp_path, capsys):
    random = np.random.default_rng(1)
    answer_many(ledger, 300, random)
    ask(ledger, 2, random.integers(1, 60, 100).tolist())
    found = json.loads(cost(tmp_path, capsys, "--json"))
    took = sum(event.answer.seconds for event in ledger.events())
    assert found["spent"]["seconds"] == pytest.approx(took)
    assert found["spent"]["answers"] == 300 and found["rounds"][0]["clicks"] == 600
    assert [p["person"] for p in found["people"]] == ["anna", "ben"]
    left = found["remaining"]
    assert (left["voxels"], left["answers"]) == (100, 100)
    assert left["low"] < left["seconds"] < left["high"]
    assert left["seconds"] == pytest.approx(took / 3, rel=0.15)
    error = found["model"]["held_out"]
    assert error["answer"] < error["answer_mean"]
    effects = found["model"]["effects"]
    assert effects["twice the points"] > 1 and effects["one more class in the answer"] > 1.1
    assert not any("proposal" in name for name in effects)  # nothing was ever proposed
    out = cost(tmp_path, capsys)
    for words in (
        "Spent, by person",
        "Spent, by round",
        "90 % interval",
        "fitted to 300 answers",
    ):
        assert words in out


def test_accepted_proposals_are_told_and_make_answers_faster(ledger, tmp_path, capsys):
    random = np.random.default_rng(2)
    for i, query in enumerate(ask(ledger, 1, [4] * 120)):
        accepted = (True, False, None)[i % 3]
        seconds = {True: 2.0, False: 9.0, None: 6.0}[accepted] * np.exp(random.normal(0, 0.1))
        more = {"proposal_accepted": accepted, "annotator": "anna", "seconds": seconds}
        ledger.answer(query, [0] * 4, **more)
    found = json.loads(cost(tmp_path, capsys, "--json"))
    effects = found["model"]["effects"]
    assert effects["proposal accepted (none offered: 1)"] < 0.6
    assert effects["proposal overwritten (none offered: 1)"] > 1.2
    assert found["people"][0]["accepted_share"] == 0.5
    assert "50.0 %" in cost(tmp_path, capsys)


def test_a_voxel_that_is_asked_about_twice_needs_two_answers(ledger):
    from annotator3d.annotation.second_opinions import request_overlap

    answer_many(ledger, 40, np.random.default_rng(3))
    ask(ledger, 2, [5] * 4)
    rounds = ledger.path.parent / "rounds"
    before = cost_of(ledger, rounds)["remaining"]
    request_overlap(ledger, 1.0, annotator="lead")
    after = cost_of(ledger, rounds)["remaining"]
    assert (before["voxels"], before["answers"]) == (4, 4)
    assert after["answers"] == 40 + 2 * 4  # a second opinion on what is answered, two on the rest


def test_predicted_classes_count_where_they_were_stored(ledger, tmp_path, capsys):
    random = np.random.default_rng(4)
    answer_many(ledger, 200, random, who=("anna",))
    few, many = ask(ledger, 2, [20, 20])
    folder = tmp_path / "rounds"

    def store(number, cells, counts):
        (folder / str(number)).mkdir(parents=True)
        arrays = {"cells": np.array(cells), "cell_classes": np.array(counts, np.uint8)}
        np.savez(folder / str(number) / "00_000000.npz", **arrays)

    answered = ledger.responses(1)
    store(1, [q.cell for q, _ in answered], [len(np.unique(a.labels)) for _, a in answered])
    told = cost_of(ledger, folder)
    blind = cost_of(ledger, tmp_path / "elsewhere")
    assert told["model"]["held_out"]["answer"] < blind["model"]["held_out"]["answer"]
    store(2, [ledger.query(few).cell, ledger.query(many).cell], [1, 3])
    lower = cost_of(ledger, folder)["remaining"]["seconds"]
    np.savez(folder / "2" / "00_000000.npz", cells=[[0, 2, 0], [1, 2, 0]], cell_classes=[3, 3])
    assert cost_of(ledger, folder)["remaining"]["seconds"] > 1.1 * lower
    (folder / "2" / "00_000000.npz").write_bytes(b"no zip")
    assert cli.main(["cost", str(tmp_path)]) == 1
    assert "00_000000.npz is not a stored prediction" in capsys.readouterr().err


def test_a_folder_without_a_ledger_is_said(tmp_path, capsys):
    assert cli.main(["cost", str(tmp_path)]) == 1
    assert "there is no ledger" in capsys.readouterr().err


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=4, points=300)


def hours_config(root, hours=None, **more):
    """Eight scans, up to six voxels each in three rounds, answered by a simulated person."""
    return tiny_config(
        root,
        schedule={"epochs": 2, "evaluate_at": []},
        active={
            "oracle": {"type": "noisy", "spread": 0.1},
            "queries_per_scan": 6,
            "rounds_at": [0, 1],
            "budget_hours": hours,
            "seconds_per_voxel": 20.0,
            **more,
        },
    )


def test_a_round_is_cut_to_its_hours_by_default_then_by_answers(root, tmp_path, capsys):
    hours = 700 / 3600
    train(hours_config(root, hours), tmp_path / "run")
    train(hours_config(root, None, max_queries=35), tmp_path / "same")
    with Ledger.read(tmp_path / "run" / "ledger.sqlite") as ledger:
        first, second = ledger.rounds()
        assert first.max_queries == first.num_queries == 35  # 700 s, 20 s each
        assert "35 of 48 voxels" in ledger.round_decision(1)
        assert "active.seconds_per_voxel=20: 0 timed answers so far" in ledger.round_decision(1)
        assert "by the times of 35 answers" in ledger.round_decision(2)
        took = sum(work.seconds for work in effort_by_query(ledger) if work.query.round == 1)
        fit = round(700 / (took / 35))
        assert min(48, fit) - 6 <= second.num_queries <= 48  # by far not 20 s each
        asked = [(q.scan, q.cell) for q in ledger.queries(1)]
    with Ledger.read(tmp_path / "same" / "ledger.sqlite") as ledger:
        assert [(q.scan, q.cell) for q in ledger.queries(1)] == asked  # as fair as max_queries
        assert ledger.round_decision(1) is None
    assert cli.main(["round", "status", str(tmp_path / "run")]) == 0
    assert "35 of 48 voxels for 0.194444 h" in capsys.readouterr().out
    page = _report(tmp_path / "run")
    assert "Time and cost" in page and "an answer" in page and "by the times of 35" in page


def _report(work_dir):
    assert cli.main(["report", str(work_dir)]) == 0
    text = (work_dir / "report.html").read_text()
    return re.sub(r"<img[^>]*>", "", text)


def test_a_run_that_was_killed_keeps_the_size_of_its_rounds(root, tmp_path):
    """With the answers that came since, the first round would be larger."""
    config, log = tmp_path / "c.yaml", tmp_path / "log"
    config.write_text(dump_config(hours_config(root, 700 / 3600)))
    killed = start(
        resumed_runs.die_at_answer, str(config), str(tmp_path / "run"), 33, env={}, log=log
    )
    assert ended(killed) == -signal.SIGKILL, log.read_text()
    with Ledger.read(tmp_path / "run" / "ledger.sqlite") as ledger:
        assert ledger.rounds()[0].max_queries == 35 and len(ledger.events()) == 33
    for name, more in (("run", ["--resume"]), ("whole", [])):
        assert cli.main(["train", str(config), "--work-dir", str(tmp_path / name), *more]) == 0
    texts = []
    for name in ("run", "whole"):
        with Ledger.read(tmp_path / name / "ledger.sqlite") as ledger:
            texts.append((ledger.export_canonical(), ledger.round_decision(2)))
            assert ledger.rounds()[0].max_queries == 35 < ledger.rounds()[1].max_queries
    assert texts[0] == texts[1] and "by the times of 35 answers" in texts[0][1]


def test_hours_and_a_limit_of_voxels_go_together(root, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(hours_config(root, 1.0, max_queries=7)))
    command = ["select", str(path), "--set", "active.strategy=random", "--work-dir"]
    assert cli.main([*command, str(tmp_path / "few")]) == 0
    with Ledger.read(tmp_path / "few" / "ledger.sqlite") as ledger:
        assert ledger.rounds()[0].max_queries == ledger.spent() == 7


def test_a_later_round_into_which_nothing_fits_says_what_one_voxel_takes(root, tmp_path, capsys):
    path, work_dir = tmp_path / "c.yaml", tmp_path / "run"
    path.write_text(dump_config(hours_config(root, 1.0, max_queries=30)))
    command = ["select", str(path), "--set", "active.strategy=random", "--work-dir", str(work_dir)]
    assert cli.main(command) == 0
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names, digest, size = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    with Ledger.open(work_dir / "ledger.sqlite", names, digest, size) as ledger:
        for query in ledger.open_queries():
            ledger.answer(query.id, [0] * query.num_points, annotator="anna", seconds=60.0)
    capsys.readouterr()
    assert cli.main([*command, "--set", "active.budget_hours=0.006"]) == 0  # 21.6 s
    assert "0 of 48 voxels for 0.006 h (the first alone takes 60 s)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("active", "words"),
    [
        ({"budget_hours": 0.0}, "active.budget_hours: expected hours above 0, .*, got 0"),
        ({"budget_hours": ".inf"}, "active.budget_hours: expected a finite number, got inf"),
        ({"budget_hours": 1.0, "seconds_per_voxel": -1.0}, "active.seconds_per_voxel: expected"),
        (
            {"budget_hours": 0.000001},
            "until answers are timed, one voxel counts as active.seconds_per_voxel=20 s",
        ),
        ({"budget_hours": 0.005}, "nothing fits into 0.005 h.*give at least 0.006"),
        ({"budget_hours": 1.0, "when": "online"}, "active.budget_hours: online selection"),
    ],
)
def test_mistakes_in_a_budget_are_named(tmp_path, capsys, active, words):
    command = ["train", "al/streets_demo", "--work-dir", str(tmp_path / "run")]
    settings = [
        part for key, value in active.items() for part in ("--set", f"active.{key}={value}")
    ]
    assert cli.main([*command, *settings]) == 2
    assert re.search(words, capsys.readouterr().err) and not (tmp_path / "run").exists()
