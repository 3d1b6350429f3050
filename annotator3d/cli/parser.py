"""The parser of the whole command line, built from what is registered."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import annotator3d
from annotator3d.cli.command import COMMANDS, GROUPS, Command, load_commands
from annotator3d.errors import nearest, shortened

DESCRIPTION = "Label LiDAR scans by asking an oracle about a few confused voxels per scan."
EPILOG = "`annotator3d COMMAND --help` lists the options of a command."


class Parser(argparse.ArgumentParser):
    """Says what is wrong in two lines: the whole usage of a command would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(
            2,
            f"usage: {self.prog} ... (`{self.prog} --help` lists the options)\n"
            f"{self.prog}: error: {shortened(message)}\n",
        )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; ``command`` of the result is the `Command` that was named.

    Raises SystemExit after it has printed help or what is wrong.
    """
    parser = make_parser()
    words = sys.argv[1:] if arguments is None else list(arguments)
    args, unknown = parser.parse_known_args(_with_action_first(words))
    if unknown:
        _refuse(args, unknown)
    _refuse_empty(args)
    return args


def _refuse_empty(args: argparse.Namespace) -> None:
    """No empty text: a path of that name would be the current folder, as a script's ``"$DIR"``."""
    for name, value in vars(args).items():
        if value == "":
            args.parser.error(f"{name.replace('_', '-')}: expected a value, got an empty text")


def _with_action_first(words: list[str]) -> list[str]:
    """``round --round 1 status DIR`` as ``round status --round 1 DIR``: argparse wants it so."""
    if words[:1] and words[0] in GROUPS and words[1:2] and words[1].startswith("-"):
        for at, word in enumerate(words[1:], 1):
            if f"{words[0]} {word}" in COMMANDS:
                return [words[0], word, *words[1:at], *words[at + 1 :]]
    return words


def make_parser() -> argparse.ArgumentParser:
    """The parser with every registered command."""
    load_commands()
    parser = Parser(prog="annotator3d", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=annotator3d.__version__)
    parser.set_defaults(debug=False)
    top = parser.add_subparsers(required=True, metavar="COMMAND")
    actions = {}
    single = [each for each in COMMANDS.values() if " " not in each.name]
    for each in sorted([*single, *GROUPS.values()], key=lambda entry: entry.order):
        sub = _add(top, each.name, each.help)
        if isinstance(each, Command):
            _complete(sub, each)
        else:
            actions[each.name] = sub.add_subparsers(required=True, metavar="ACTION")
    for each in sorted(COMMANDS.values(), key=lambda entry: entry.order):
        first, _, action = each.name.partition(" ")
        if action:
            _complete(_add(actions[first], action, each.help), each)
    return parser


def _add(place: Any, name: str, help: str) -> argparse.ArgumentParser:
    sub = place.add_parser(name, help=help, description=help)
    # No default here: that of an action would hide what its group was given.
    sub.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks"
    )
    return sub


def _complete(sub: argparse.ArgumentParser, entry: Command) -> None:
    entry.options(sub)
    sub.set_defaults(command=entry, parser=sub)


def _refuse(args: argparse.Namespace, unknown: Sequence[str]) -> NoReturn:
    """End with the usage of the command and what was probably meant."""
    words = f"unrecognized arguments: {' '.join(unknown)}"
    option = next((word.partition("=")[0] for word in unknown if word.startswith("--")), None)
    if option is not None:
        words += f"; {_hint(args, option)}"
    args.parser.error(words)


def _hint(args: argparse.Namespace, option: str) -> str:
    first, _, action = args.command.name.partition(" ")
    relatives = [c for c in COMMANDS.values() if action and c.name.startswith(f"{first} ")]
    owners = [each.name for each in relatives if option in _flags(each)]
    if owners:
        return f"{option} belongs to {' and '.join(owners)}"
    return nearest(option, _flags(args.command))


def _flags(entry: Command) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False)
    entry.options(parser)
    return list(parser._option_string_actions)
