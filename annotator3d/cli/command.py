"""How a command registers its name, its options, its function and its message when stopped.

A file in ``annotator3d/cli/commands/`` is enough for a new command::

    @command("hello", help="greet somebody", options=add_options, order=95)
    def hello(args: argparse.Namespace) -> None:
        print(f"hello, {args.name}")

An action of a group is called ``"group action"``; the group itself is made by `group`, once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

AddOptions = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], "int | None"]


class Command(NamedTuple):
    """What the parser and the dispatcher know about one command."""

    name: str  # "train", or "ledger verify"
    help: str  # one line
    options: AddOptions
    order: int  # place in the help; in that of its group for an action
    when_stopped: str  # follows "stopped", on Ctrl-C or a signal
    run: Run  # returns the exit code; None: 0


class Group(NamedTuple):
    """A command that consists of actions."""

    name: str
    help: str
    order: int


COMMANDS: dict[str, Command] = {}
GROUPS: dict[str, Group] = {}


def no_options(parser: argparse.ArgumentParser) -> None:
    """For a command without options of its own."""


def command(
    name: str,
    *,
    help: str,
    order: int,
    options: AddOptions = no_options,
    when_stopped: str = "",
) -> Callable[[Run], Run]:
    """Register the decorated function as the command ``name``.

    Args:
        name: one word, or the name of a group and one word.
        help: one line.
        order: place in the help, between the numbers of its neighbours; gaps are left for more.
        options: adds the command's options to its parser; ``--debug`` is added to all.
        when_stopped: message for a user who stops it, such as how to continue.
    """
    if name in COMMANDS:
        raise ValueError(f"there are two commands {name!r}")

    def register(run: Run) -> Run:
        COMMANDS[name] = Command(name, help, options, order, when_stopped, run)
        return run

    return register


def group(name: str, *, help: str, order: int) -> None:
    """Register the group that the commands ``"name action"`` belong to."""
    if name in GROUPS:
        raise ValueError(f"there are two groups {name!r}")
    GROUPS[name] = Group(name, help, order)


def load_commands() -> None:
    """Import every file of ``commands/``, each of which registers what it defines."""
    package = import_module("annotator3d.cli.commands")
    # Not pkgutil.iter_modules, which would import `inspect`, a tenth of the time of `--help`.
    files = {file for folder in package.__path__ for file in os.listdir(folder)}
    for file in sorted(files):
        if file.endswith(".py") and not file.startswith("_"):
            import_module(f"{package.__name__}.{file.removesuffix('.py')}")
