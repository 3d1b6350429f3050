"""Answers that the trained network contradicts, by the command line."""

from __future__ import annotations

import subprocess
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from killing import killed_at
from quality_world import opened

from annotator3d.analysis.quality.model_check import check_answers
from annotator3d.cli.main import main
from annotator3d.data.scan import rows_of_cell
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter

# --- answers that the network contradicts --------------------------------------------------------


def contradictions(work_dir, truth, config):
    """By hand: query -> mean probability of what is in force, from the last checkpoint."""
    from annotator3d.engine.build import input_rule, load_model
    from annotator3d.engine.prediction import point_logits
    from annotator3d.engine.training.checkpoint_file import read_weights

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


def test_the_least_likely_answers_are_listed_and_asked_again_once(run, capsys):
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
