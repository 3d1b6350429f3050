"""Which answers `label --review` goes through, and asking twice, by the command line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

import numpy as np
import pytest
from fake_frontend import label_by
from quality_world import opened

from annotator3d.annotation.review import Criteria
from annotator3d.cli.main import main
from annotator3d.cli.parser import make_parser
from annotator3d.cli.review_options import criteria_of
from annotator3d.data.scan import rows_of_cell
from annotator3d.ledger.ledger import Ledger

# --- what `label --review` goes through ----------------------------------------------------------


def criteria(work_dir, *options):
    args = make_parser().parse_args(["label", str(work_dir), *options])
    return criteria_of(args, work_dir)


def test_the_options_say_what_is_reviewed(run):
    work_dir, _, _ = run
    assert criteria(work_dir) is None
    found = criteria(
        work_dir, "--review", "--class", "road", "--person", "bob", "--round", "1",
        "--since", "2026-05-01", "--until", "2026-05-02", "--disputed",
    )  # fmt: skip
    assert found == Criteria(
        classes=(8,),
        people=("bob",),
        rounds=(1,),
        since="2026-05-01T00:00:00.000Z",
        until="2026-05-03T00:00:00.000Z",
        disputed=True,
    )
    moment = criteria(work_dir, "--review", "--until", "2026-05-02T10:30+02:00")
    assert moment.until == "2026-05-02T08:30:00.001Z"


def test_low_agreement_is_that_with_the_network_as_trained(run, monkeypatch, capsys):
    work_dir, truth, config = run
    from annotator3d.engine.build import input_rule, load_model
    from annotator3d.engine.prediction import predict_raw
    from annotator3d.engine.training.checkpoint_file import read_weights

    path = work_dir / "checkpoints" / "epoch_4.pth"
    model, rule = load_model(config, 19, read_weights(path), path), input_rule(config, 19)

    def predicted(query):
        scan = truth.read(truth.index(query.scan))
        rows = rows_of_cell(scan.xyz, query.cell, config.active.voxel_size)
        return predict_raw(model, scan, rule)[scan.rows[rows]]

    expected, found = set(), []
    with opened(work_dir) as ledger:
        alike = next(q for q in ledger.queries() if len(ledger.outcome(q.id).active_responses) == 1)
        ledger.answer(alike.id, predicted(alike), annotator=ledger.current(alike.id).annotator)
        for query in ledger.queries():
            for response in ledger.outcome(query.id).active_responses:
                said = np.frombuffer(response.labels or b"", np.uint8)
                if len(said) and (said != 255).any():
                    share = (predicted(query)[said != 255] == said[said != 255]).mean()
                    expected |= {query.id} if share < 0.5 else set()
    label_by(monkeypatch, lambda session: found.extend(session.matching()))
    command = ["label", str(work_dir), "--web", "--review", "--annotator", "lead"]
    assert main([*command, "--low-agreement", "50%"]) == 0
    assert set(found) == expected and expected and alike.id not in expected
    said = capsys.readouterr().out
    assert "epoch_4.pth" in said
    assert f"points in {len(expected)} voxels that nobody has decided about" in said


def test_low_agreement_is_that_of_the_answer_which_fits_the_other_options(run, monkeypatch, capsys):
    work_dir, truth, config = run
    from annotator3d.engine.build import input_rule, load_model
    from annotator3d.engine.prediction import predict_raw
    from annotator3d.engine.training.checkpoint_file import read_weights

    path = work_dir / "checkpoints" / "epoch_4.pth"
    model, rule = load_model(config, 19, read_weights(path), path), input_rule(config, 19)
    with opened(work_dir) as ledger:
        both = next(q for q in ledger.queries() if len(ledger.outcome(q.id).active_responses) == 2)
        scan = truth.read(truth.index(both.scan))
        rows = rows_of_cell(scan.xyz, both.cell, config.active.voxel_size)
        predicted = predict_raw(model, scan, rule)[scan.rows[rows]]
        ledger.answer(both.id, predicted, annotator="ann")  # each corrects their own
        ledger.answer(both.id, (predicted + 1) % 19, annotator="bob")
        assert len(ledger.outcome(both.id).active_responses) == 2
    for person, low in (("ann", False), ("bob", True)):
        found = []
        label_by(monkeypatch, lambda session, found=found: found.extend(session.matching()))
        command = ["label", str(work_dir), "--web", "--review", "--annotator", "lead"]
        assert main([*command, "--low-agreement", "50%", "--person", person]) == 0
        assert (both.id in found) == low
        assert f"points in {len(found)} voxels that nobody" in capsys.readouterr().out


def test_without_a_checkpoint_low_agreement_takes_what_the_rounds_stored(run, capsys):
    work_dir, truth, _ = run
    for path in (work_dir / "checkpoints").iterdir():
        path.unlink()
    scan = truth.read(0)
    (work_dir / "rounds" / "1").mkdir(parents=True, exist_ok=True)
    np.savez(
        work_dir / "rounds" / "1" / f"{scan.id.replace('/', '_')}.npz",
        rows=scan.rows,
        score=np.zeros(len(scan), np.float32),
        prediction=np.full(len(scan), 18, np.uint8),  # which nobody has answered
    )
    found = criteria(work_dir, "--review", "--low-agreement", "1%")
    assert "compared with the predictions that the rounds have stored" in capsys.readouterr().out
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        answered = {
            q.id for q in ledger.queries(scan=scan.id) if ledger.outcome(q.id).active_responses
        }
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert {q.id for q, where in ledger.outcomes() if found.match(where)} == answered


class Said(NamedTuple):
    query: int
    who: str
    day: str
    labels: bytes


def answers_of(work_dir):
    """By plain SQL: every answer."""
    sql = "SELECT query, annotator, created_at, labels FROM events WHERE kind = 'answer'"
    with closing(sqlite3.connect(work_dir / "ledger.sqlite")) as db:
        return [Said(query, who, when[:10], said) for query, who, when, said in db.execute(sql)]


ROAD = 8
FILTERS = {
    "": lambda a, others: True,
    "--class road": lambda a, others: ROAD in a.labels,
    "--person bob": lambda a, others: a.who == "bob",
    "--class road --person bob": lambda a, others: a.who == "bob" and ROAD in a.labels,
    "--disputed": lambda a, others: any(other.labels != a.labels for other in others),
    "--disputed --class road": lambda a, others: (
        ROAD in a.labels and any(other.labels != a.labels for other in others)
    ),
    "--round 1": lambda a, others: True,
    "--since 2099-01-01": lambda a, others: False,
    "--until 2001-01-01": lambda a, others: False,
    "--since FIRST --until LAST": lambda a, others: True,
}


@pytest.mark.parametrize("options", FILTERS)
def test_label_goes_through_the_answers_that_fit(run, monkeypatch, capsys, options):
    work_dir, _, _ = run
    answers, found = answers_of(work_dir), []
    days = sorted(answer.day for answer in answers)
    words = options.replace("FIRST", days[0]).replace("LAST", days[-1]).split()
    label_by(monkeypatch, lambda session: found.extend(session.matching()))
    command = ["label", str(work_dir), "--web", "--review", "--annotator", "lead", *words]
    assert main(command) == 0
    expected = {
        answer.query
        for answer in answers
        if FILTERS[options](answer, [a for a in answers if a.query == answer.query])
    }
    assert set(found) == expected
    said = f"{len(expected)} of {len({a.query for a in answers})} voxels are to be reviewed"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--disputed"], "--disputed belongs to --review"),
        (["--class", "road"], "--class belongs to --review"),
        (["--review", "--class", "rod"], "unknown class 'rod': did you mean 'road'"),
        (["--review", "--person", "bbo"], "'bbo' has answered nothing: did you mean 'bob'"),
        (["--review", "--round", "9"], "has no round 9"),
        (["--review", "--since", "May"], "--since: expected a date such as 2026-05-01"),
        (
            ["--review", "--since", "2026-05-03", "--until", "2026-05-02T10:00"],
            "--since 2026-05-03 is later than --until 2026-05-02T10:00",
        ),
        (["--review", "--low-agreement", "5"], "expected a share"),
        (["--review", "--overlap", "5%"], "drop them with --review"),
        (["--overlap", "5"], "expected a share such as 5% or 0.05, got '5'"),
        (["--repeat", "x"], "expected a share such as 5% or 0.05, got 'x'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(run, monkeypatch, capsys, options, words):
    label_by(monkeypatch, lambda session: pytest.fail("was opened"))
    before = (run[0] / "ledger.sqlite").read_bytes()
    assert main(["label", str(run[0]), "--web", *options]) == 2
    assert words in capsys.readouterr().err
    assert (run[0] / "ledger.sqlite").read_bytes() == before


def test_only_who_has_answered_can_be_reviewed(run, monkeypatch, capsys):
    label_by(monkeypatch, lambda session: pytest.fail("was opened"))
    with opened(run[0]) as ledger:
        ledger.leases.hold([1], annotator="zoe", seconds=60)
    for person in ("zoe", "xx"):
        command = ["label", str(run[0]), "--web", "--review", "--person", person]
        assert main(command) == 2
        assert f"{person!r} has answered nothing: Known: ann, bob\n" in capsys.readouterr().err


def test_label_asks_for_second_opinions_and_repeats(run, monkeypatch, capsys):
    work_dir, _, _ = run

    def requests(ask):
        with Ledger.read(work_dir / "ledger.sqlite") as ledger:
            return {event.query for event in ledger.events() if event.ask == ask}

    label_by(monkeypatch, lambda session: None)
    command = ["label", str(work_dir), "--web", "--annotator", "ann"]
    before = requests("overlap")
    assert main([*command, "--overlap", "60%"]) == 0
    assert requests("overlap") == before and not requests("repeat")  # that was asked already
    assert main([*command, "--overlap", "100%", "--repeat", "100%"]) == 0
    answers = answers_of(work_dir)
    assert requests("overlap") == {answer.query for answer in answers} > before
    mine = {answer.query for answer in answers if answer.who == "ann"}
    assert requests("repeat") and requests("repeat") <= mine
    assert "voxels still wait for an answer" in capsys.readouterr().out
