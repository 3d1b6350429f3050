"""The quality of a run's answers, by the command line: two people, disputes, review, training."""

import json
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from itertools import count
from typing import NamedTuple

import numpy as np
import pytest
import torch
from fake_frontend import label_by
from killing import killed_at
from tiny_runs import tiny_config

from annotator3d.analysis.quality.model_check import check_answers
from annotator3d.annotation.review import Criteria
from annotator3d.api.labelling import open_labelling
from annotator3d.cli.main import main
from annotator3d.cli.parser import make_parser
from annotator3d.cli.review_options import criteria_of
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import rows_of_cell
from annotator3d.engine.rounds.hook import WaitingForOracleError
from annotator3d.engine.run import train
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Answer, Ledger
from annotator3d.reporter import Reporter

pytestmark = pytest.mark.usefixtures("one_thread")
CONFUSION = {"ann": 0.0, "bob": 0.5}  # how often somebody takes a class for the next one


def opened(path):
    with Ledger.read(path / "ledger.sqlite") as ledger:
        names, digest, size = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    return Ledger.open(path / "ledger.sqlite", names, digest, size)


def label_all(work_dir, person, truth, seed=0):
    """Answer what waits for a person, each voxel by its truth, or wrongly by a seeded confusion."""
    session = open_labelling(work_dir, annotator=person).session
    while session.current is not None:
        query, view = session.current, session.view
        labels = truth.read(truth.index(query.scan)).labels[view.rows]
        random = np.random.default_rng([seed, query.id])
        if random.random() < CONFUSION[person]:
            labels = np.where(labels == 255, 255, (labels + 1) % 19)
        for label in np.unique(labels)[:-1]:
            session.paint(labels == label)
            session.assign(int(label))
        if session.current is query:
            session.assign(int(labels.max()))
    session.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run that was asked, answered by two people and trained; half of it was asked twice."""
    folder = tmp_path_factory.mktemp("quality")
    random = np.random.default_rng(3)
    root = folder / "kitti"
    for sequence in ("00", "01", "02", "03"):
        for part in ("velodyne", "labels"):
            (root / "sequences" / sequence / part).mkdir(parents=True)
        for frame in range(2):
            xyz = random.uniform([-20, -20, -2], [20, 20, 3], (300, 3))
            data = np.column_stack([xyz, random.random(300)]).astype("<f4")
            data.tofile(root / "sequences" / sequence / "velodyne" / f"{frame:06d}.bin")
            raw = random.choice([10, 40, 50, 70], 300).astype("<u4")
            raw.tofile(root / "sequences" / sequence / "labels" / f"{frame:06d}.label")
    config = tiny_config(root, active={"oracle": "person", "rounds_at": [0], "queries_per_scan": 8})
    work_dir = folder / "run"
    with pytest.raises(WaitingForOracleError):
        train(config, work_dir)
    assert main(["quality", "request", str(work_dir), "--overlap", "60%"]) == 0
    truth = SemanticKITTI(root, ["00", "01"])
    for person in CONFUSION:
        label_all(work_dir, person, truth)
    train(config, work_dir, resume=True)
    return work_dir, truth, config


@pytest.fixture
def run(base, tmp_path):
    """A copy of it that a test may write to."""
    work_dir, truth, config = base
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", work_dir, copy], check=True)
    return copy, truth, config


def report(work_dir, capsys):
    capsys.readouterr()
    assert main(["quality", "report", str(work_dir), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_disputes_appear_are_not_trained_on_and_are_decided(run, capsys):
    work_dir, truth, config = run
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        disputed = {query.id for query in ledger.disputed_queries()}
        trained = {(scan, entry.cell) for scan, entry in ledger.labels()}
        queries = {query.id: query for query in ledger.queries()}
        assert not ledger.open_queries() and ledger.summary().disputed == len(disputed)
    assert disputed and not trained & {(queries[q].scan, queries[q].cell) for q in disputed}
    found = report(work_dir, capsys)
    assert {entry["query"] for entry in found["disputed"]} == disputed
    session = open_labelling(work_dir, annotator="lead", review=Criteria(disputed=True)).session
    while session.current is not None:  # the one who is right, by the truth
        labels = truth.read(truth.index(session.current.scan)).labels[session.view.rows]
        while session.labels.tolist() != labels.tolist():
            session.step_opinion()
        session.approve()
    session.close()
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert not ledger.disputed_queries()
        now = {(scan, entry.cell): entry.labels for scan, entry in ledger.labels()}
    for query_id in disputed:
        query = queries[query_id]
        scan = truth.read(truth.index(query.scan))
        rows = rows_of_cell(scan.xyz, query.cell, config.active.voxel_size)
        assert now[query.scan, query.cell].tolist() == scan.labels[rows].tolist()
    found = report(work_dir, capsys)
    assert found["disputed"] == []
    bob = next(person for person in found["people"] if person["person"] == "bob")
    assert sum(bob[how]["by"].get("lead", 0) for how in ("accepted", "typed over", "typed")) == len(
        disputed
    )


def test_the_report_says_what_the_two_have_said(run, capsys):
    work_dir, truth, _ = run
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        said = {}
        for event in ledger.events():
            if event.answer.kind in ("answer", "ignore"):
                labels = event.answer.labels
                said.setdefault(event.query, {})[event.answer.annotator] = labels
        points = {query.id: query.num_points for query in ledger.queries()}
    both = {query: by for query, by in said.items() if len(by) == 2}
    full = {
        query: [
            np.full(points[query], 255) if by[who] is None else by[who] for who in ("ann", "bob")
        ]
        for query, by in both.items()
    }
    same = sum(int((a == b).sum()) for a, b in full.values())
    found = report(work_dir, capsys)
    (pair,) = found["pairs"]
    assert pair["people"] == ["ann", "bob"] and pair["voxels"] == len(both)
    total = sum(points[query] for query in both)
    assert pair["agreement_points"] == pytest.approx(same / total)
    assert np.sum(pair["confusion_points"]) == total and pair["kappa_points"] < 1
    assert found["requests"]["overlap"] == {"asked": len(both), "waiting": 0}
    assert found["rounds"][0]["voxels"] == len(both)
    assert found["together"]["by_class"] == pair["by_class"]
    for figure in ("kappa_points", "kappa_voxels", "identical"):
        assert found["rounds"][0][figure] == found["together"][figure] == pair[figure]


def test_the_tables_are_printed_and_stand_in_the_page_of_the_run(run, capsys):
    work_dir, _, _ = run
    assert main(["quality", "report", str(work_dir)]) == 0
    text = capsys.readouterr().out
    for words in ("Two people on the same voxels", "ann and bob", "By class", "Disputed", "kappa"):
        assert words in text
    assert main(["report", str(work_dir)]) == 0
    page = (work_dir / "report.html").read_text()
    assert "Quality of the answers" in page and "ann and bob" in page


def test_before_anybody_was_asked_twice_the_report_says_how(make_kitti, tmp_path, capsys):
    config = tiny_config(make_kitti(("00", "01", "02", "03")), active={"oracle": "person"})
    with pytest.raises(WaitingForOracleError):
        train(config, tmp_path / "run")
    assert main(["quality", "report", str(tmp_path / "run")]) == 0
    assert "to ask for one: annotator3d quality request" in capsys.readouterr().out
    found = report(tmp_path / "run", capsys)
    assert found["pairs"] == [] and found["together"]["kappa_points"] is None
    with opened(tmp_path / "run") as ledger:  # as from two packages of one person
        count = ledger.query(1).num_points
        for label in (3, 4):
            ledger.append(1, Answer("answer", np.full(count, label, np.uint8), "ann"), None)
    assert main(["quality", "report", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "nobody has answered the same voxel twice" not in said
    assert "nobody has given a second opinion yet" in said and "Disputed" in said


# --- answers that the network contradicts --------------------------------------------------------


def contradictions(work_dir, truth, config):
    """By hand: query -> mean probability of what is in force, from the last checkpoint."""
    from annotator3d.engine.build import input_rule, load_model, read_weights
    from annotator3d.engine.prediction import point_logits

    path = work_dir / "checkpoints" / "epoch_4.pth"
    model, rule = load_model(config, 19, read_weights(path), path), input_rule(config, 19)
    found = {}
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        for query, answer in ledger.responses():
            if answer is None or answer.labels is None or (answer.labels == 255).all():
                continue
            scan = truth.read(truth.index(query.scan))
            logits = point_logits(model, scan, rule)
            rows = rows_of_cell(scan.xyz, query.cell, config.active.voxel_size)
            chances = [
                float(torch.softmax(logits[row].double(), 0)[label])
                for row, label in zip(rows, answer.labels, strict=True)
                if label != 255
            ]
            found[query.id] = sum(chances) / len(chances)
    return found


def again(work_dir):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        return {e.query: e for e in ledger.events() if e.ask == "again"}


def test_the_answers_that_the_network_gives_least_are_listed_and_asked_again_once(run, capsys):
    work_dir, truth, config = run
    chances = contradictions(work_dir, truth, config)
    low = sorted((q for q in chances if chances[q] < 0.5), key=chances.get)
    expected, following = low[:3], low[3:6]
    assert following
    command = ["ledger", "suspicious", str(work_dir), "--worst", "3"]
    assert main(command) == 0
    text = capsys.readouterr().out
    summary = f"epoch_4.pth: {len(low)} of {len(chances)} effective answers are contradicted"
    assert f"{summary} (below 50%); 0 of these were asked about before" in text
    assert again(work_dir) == {}
    for query in expected:
        assert f"{100 * chances[query]:.1f} %" in text
    assert main([*command, "--queue", "--annotator", "lead"]) == 0
    assert "3 are asked again\n" in capsys.readouterr().out
    asked = again(work_dir)
    assert sorted(asked) == sorted(expected)
    note = asked[expected[0]].answer.note
    assert note.startswith("epoch_4.pth gives ") and "and predicts" in note
    assert asked[expected[0]].answer.annotator == "lead"
    assert main([*command, "--queue"]) == 0  # goes on with the next worst
    text = capsys.readouterr().out
    assert f"{summary} (below 50%); 3 of these were asked about before" in text
    assert f"{len(following)} are asked again\n" in text
    assert sorted(again(work_dir)) == sorted(expected + following)
    assert main([*command[:-1], "99", "--queue"]) == main([*command, "--queue"]) == 0
    text = capsys.readouterr().out
    assert f"{len(low)} of these were asked about before" in text
    assert text.endswith("0 are asked again\n")


def test_what_was_confirmed_is_not_asked_again_and_what_was_changed_may_be(run, capsys):
    work_dir, _, _ = run
    command = ["ledger", "suspicious", str(work_dir), "--worst", "2", "--queue", "--below", "1.0"]
    assert main(command) == 0
    first, second = sorted(again(work_dir))
    with opened(work_dir) as ledger:
        ledger.answer(first, ledger.current(first).labels, annotator="ann")
        count = ledger.query(second).num_points
        ledger.answer(second, np.full(count, 18), annotator="ann")
    capsys.readouterr()
    assert main(["ledger", "suspicious", str(work_dir), "--worst", "99", "--queue"]) == 0
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        asked = [e.query for e in ledger.events() if e.ask == "again"]
    assert asked.count(first) == 1 and asked.count(second) == 2


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--worst", "0"], "--worst: expected at least 1", 2),
        (["--annotator", "x"], "--annotator belongs to --queue", 2),
        (["--below", "5"], "expected a share", 2),
        (["--checkpoint", "absent.pth"], "absent.pth", 1),
        (["--data-root", "absent"], "absent", 1),
    ],
)
def test_a_wrong_order_is_said_and_nothing_is_written(run, capsys, arguments, words, code):
    work_dir, _, _ = run
    before = (work_dir / "ledger.sqlite").read_bytes()
    assert main(["ledger", "suspicious", str(work_dir), *arguments]) == code
    assert words in capsys.readouterr().err
    assert (work_dir / "ledger.sqlite").read_bytes() == before


def test_without_a_checkpoint_it_says_what_to_do(run, capsys):
    work_dir, _, _ = run
    for path in (work_dir / "checkpoints").iterdir():
        path.unlink()
    assert main(["ledger", "suspicious", str(work_dir)]) == 1
    assert "holds no whole checkpoint; train first" in capsys.readouterr().err


def test_a_scan_that_changed_is_refused(run, capsys, tmp_path):
    work_dir, truth, _ = run
    root = tmp_path / "kitti"
    subprocess.run(["cp", "-r", truth.root, root], check=True)
    for path in root.glob("sequences/0[01]/velodyne/*.bin"):
        path.write_bytes(path.read_bytes()[16:])
    for path in root.glob("sequences/0[01]/labels/*.label"):
        path.write_bytes(path.read_bytes()[4:])
    assert main(["ledger", "suspicious", str(work_dir), "--data-root", str(root)]) == 1
    assert "has changed since it was asked about" in capsys.readouterr().err


def test_killed_at_any_statement_it_asks_for_all_or_none(run, monkeypatch):
    work_dir, _, config = run
    judged = check_answers(config, WorkDir(work_dir), Reporter())
    # The network's threads do not live on in a fork: what it says is known before.
    monkeypatch.setattr(
        "annotator3d.analysis.quality.model_check.check_answers", lambda *a, **more: judged
    )
    path, seen = work_dir / "ledger.sqlite", set()
    before = path.read_bytes()
    command = ["ledger", "suspicious", str(work_dir), "--worst", "3", "--queue"]
    for statement in count(step=10):
        for file in work_dir.glob("ledger.sqlite-*"):
            file.unlink()
        path.write_bytes(before)
        going = killed_at(statement, partial(main, command))
        asked = again(work_dir)
        seen.add(len(asked))
        if not asked:
            assert main(command) == 0
        assert len(again(work_dir)) == 3
        if not going:
            break
    assert seen == {0, 3}


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
    from annotator3d.engine.build import input_rule, load_model, read_weights
    from annotator3d.engine.prediction import predict_raw

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
    from annotator3d.engine.build import input_rule, load_model, read_weights
    from annotator3d.engine.prediction import predict_raw

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
