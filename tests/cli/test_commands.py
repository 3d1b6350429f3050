"""What is registered: every command with its options, its help, and its words when stopped."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from annotator3d.cli import choices
from annotator3d.cli.command import COMMANDS, GROUPS, command, group, load_commands
from annotator3d.cli.main import main
from annotator3d.cli.parser import make_parser, parse
from annotator3d.errors import RunStoppedError

ROOT = Path(__file__).parents[2]
# The command line of the first version, before its commands registered themselves.
FIRST = json.loads((Path(__file__).parent / "fixtures/commands.json").read_text())
CHANGED_DEFAULTS = {("export", "split"): None}  # was "val": scans were left out without a word
load_commands()


def options_of(name: str) -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    COMMANDS[name].options(parser)
    return {action.dest: action for action in parser._actions}


@pytest.mark.parametrize("name", FIRST)
def test_a_command_keeps_every_option(name):
    found = options_of(name)
    for old in FIRST[name]:
        new = found[old["dest"]]
        default = CHANGED_DEFAULTS.get((name, old["dest"]), old["default"])
        assert set(old["flags"]) <= set(new.option_strings), old["dest"]
        assert (new.nargs, new.default, new.required) == (
            old["nargs"],
            default,
            old["required"],
        ), old["dest"]
        assert getattr(new.type, "__name__", None) == old["type"]
        assert type(new).__name__.strip("_").removesuffix("Action") == old["action"]
        assert new.choices is None or set(old["choices"]) <= set(new.choices)


@pytest.mark.parametrize("name", FIRST)
def test_required_parts_keep_their_order_and_nothing_is_added(name):
    def needed(options):
        return [(dest, nargs) for dest, flags, nargs, required in options if required or not flags]

    old = needed((o["dest"], o["flags"], o["nargs"], o["required"]) for o in FIRST[name])
    new = needed((a.dest, a.option_strings, a.nargs, a.required) for a in options_of(name).values())
    assert sorted(new) == sorted(old)
    positional = {o["dest"] for o in FIRST[name] if not o["flags"]}
    assert [n for n in new if n[0] in positional] == [o for o in old if o[0] in positional]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_in_which_each_option_says_what_it_does(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    assert "show tracebacks" in capsys.readouterr().out
    assert [dest for dest, option in options_of(name).items() if not option.help] == []


def test_the_help_lists_every_command_once_in_the_order_of_the_registration(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line[:4] == "    " and line[4:5].isalpha()]
    entries = [c for c in COMMANDS.values() if " " not in c.name] + [*GROUPS.values()]
    assert listed == [entry.name for entry in sorted(entries, key=lambda entry: entry.order)]


@pytest.mark.parametrize("name", GROUPS)
def test_the_help_of_a_group_lists_its_actions(name, capsys):
    assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line[:4] == "    " and line[4:5].isalpha()]
    actions = [c for c in COMMANDS.values() if c.name.startswith(f"{name} ")]
    assert listed == [c.name.split()[1] for c in sorted(actions, key=lambda c: c.order)] != []


def test_orders_are_unique():
    entries = [c for c in COMMANDS.values() if " " not in c.name] + [*GROUPS.values()]
    orders = [entry.order for entry in entries]
    for name in GROUPS:
        orders += [(name, c.order) for c in COMMANDS.values() if c.name.startswith(f"{name} ")]
    assert len(set(orders)) == len(orders)


def stop(monkeypatch, name: str, error: BaseException) -> int:
    """The exit code of a command that is stopped at once."""

    def run(args):
        raise error

    monkeypatch.setitem(COMMANDS, name, COMMANDS[name]._replace(run=run))
    given = []
    for action in options_of(name).values():
        value = next(iter(action.choices)) if action.choices else "1"
        if action.required and action.option_strings:
            given += [action.option_strings[0], value]
        elif not action.option_strings and action.nargs != "?":
            given.append(value)
    return main([*name.split(), *given])


CONTINUES = {
    "train": "; nothing in the ledger is lost: continue with the same command and --resume",
    "start": "; nothing in the ledger is lost: the same command continues",
    "run": "; nothing in the ledger is lost: the same command continues",
    "select": "; nothing in the ledger is lost",
    "import": "; the same command continues",
    "pretrain": "; the same command continues",
    "demo": "; nothing in the ledgers is lost: the same command continues",
    "compare": "; nothing in the ledgers is lost: the same command continues",
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_stopped_command_says_how_to_continue(name, monkeypatch, capsys):
    words = CONTINUES.get(name, "")
    assert stop(monkeypatch, name, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == f"stopped{words}\n"
    assert stop(monkeypatch, name, RunStoppedError(15, "epoch 3 is saved")) == 128 + 15
    assert capsys.readouterr().err == f"stopped by signal 15; epoch 3 is saved{words}\n"


def test_of_several_processes_one_says_that_it_was_stopped(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert stop(monkeypatch, "train", RunStoppedError(15)) == 128 + 15
    assert capsys.readouterr().err == ""


def test_an_unknown_option_is_answered_with_what_was_meant(capsys):
    for words, expected in (
        (["round", "status", "w", "--release"], "--release belongs to round close"),
        (["train", "c", "--resmue"], "did you mean '--resume'?"),
        (["ledger", "log", "w", "--jsno"], "Known: --annotator, --last, --query, --round"),
    ):
        assert main(words) == 2
        assert expected in capsys.readouterr().err
    assert main(["report", "w", "surplus"]) == 2
    assert capsys.readouterr().err.endswith("unrecognized arguments: surplus\n")


@pytest.mark.parametrize("words", [["ledger", "--debug", "log", "w"], ["ledger", "log", "w"]])
def test_debug_may_stand_before_the_action(words):
    assert make_parser().parse_args(words).debug == ("--debug" in words)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("round --round 2 status DIR", "round status --round 2 DIR"),
        ("round --release close DIR", "round close DIR --release"),
        ("taxonomy --apply migrate DIR NEW", "taxonomy migrate DIR NEW --apply"),
        ("ledger --debug verify DIR", "ledger verify DIR --debug"),
    ],
)
def test_options_may_stand_before_the_action(before, after):
    first, second = (vars(parse(words.split())) for words in (before, after))
    assert {**first, "parser": None} == {**second, "parser": None}


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="two commands 'train'"):
        command("train", help="", order=0)
    with pytest.raises(ValueError, match="two groups 'ledger'"):
        group("ledger", help="", order=0)


NEW = """
from annotator3d.cli.command import command


@command("hello", help="greet somebody", options=lambda p: p.add_argument("name"), order=95)
def hello(args):
    print(f"hello, {args.name}")
"""


def test_a_file_is_enough_for_a_new_command(tmp_path):
    (tmp_path / "hello.py").write_text(NEW)
    code = (
        "import sys; import annotator3d.cli.commands as commands; from annotator3d.cli.main import"
        f" main; commands.__path__.append({str(tmp_path)!r}); sys.exit(main(['hello', 'ann']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "hello, ann\n"), run.stderr


def test_help_imports_nothing_but_the_standard_library():
    code = (
        "import sys; before = set(sys.modules); from annotator3d.cli.main import main; "
        "main(['--help']); found = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(found - set(sys.stdlib_module_names)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stderr == "['annotator3d']\n"


def test_the_choices_are_those_of_the_code():
    from annotator3d.annotation.proposals import OFFERS
    from annotator3d.annotation.queue import ORDERS
    from annotator3d.data.exporting.writers import WRITERS
    from annotator3d.data.formats.registry import AUTO, FORMATS
    from annotator3d.data.simulator.domains import DOMAINS
    from annotator3d.viz.camera import VIEWS
    from annotator3d.viz.colours import BACKGROUNDS, MODES

    assert (choices.SCAN_FORMATS, choices.AUTO) == (tuple(FORMATS), AUTO)
    assert set(choices.LABEL_FORMATS) == set(WRITERS)
    assert choices.DOMAINS == tuple(DOMAINS)
    assert choices.ORDERS == tuple(ORDERS)
    assert choices.OFFERS == OFFERS
    assert choices.COLOURS == MODES
    assert choices.VIEWS == VIEWS
    assert set(choices.BACKGROUNDS) == set(BACKGROUNDS)


def test_every_device_of_the_help_is_one_of_the_config():
    from annotator3d.engine.config.load import make_config
    from annotator3d.errors import ConfigError

    for device in choices.DEVICES:
        assert make_config({"device": device}).device == device
    with pytest.raises(ConfigError) as error:
        make_config({"device": "gpu"})
    assert all(device in str(error.value) for device in choices.DEVICES)


def test_getting_started_lists_every_command():
    page = (ROOT / "docs/getting_started.md").read_text()
    _, _, table = page.partition("\n## Commands\n")
    table = table.partition("\n\n`CONFIG` is")[0]
    rows = [line.split("`")[1].split() for line in table.splitlines() if "`annotator3d " in line]
    listed = []
    for _, first, *more in rows:
        actions = more[0].split("\\|") if first in GROUPS else [""]
        listed += [f"{first} {action}".strip() for action in actions]
    assert listed == sorted(set(listed), key=listed.index)
    assert set(listed) == set(COMMANDS)
