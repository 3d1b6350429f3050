"""``annotator3d <command>``: parses, calls what is registered and turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from annotator3d.account import ensure_home
from annotator3d.cli.configs import refuse_twice, say_yes
from annotator3d.cli.parser import parse
from annotator3d.cli.ranks import is_first
from annotator3d.cli.visible import visible_output
from annotator3d.errors import LONGEST, ConfigError, RunStoppedError, shortened
from annotator3d.system_errors import in_words

INTERRUPTED = 128 + signal.SIGINT
# What Python itself says of these ("'state_dict'") tells a user nothing.
_OUR_FAULTS = (LookupError, TypeError, AttributeError, NameError, AssertionError, ArithmeticError)


def entry() -> NoReturn:
    """The program ``annotator3d``: `main`, and no second Ctrl-C changes its exit code."""
    # From Python 3.11 on: processes of ours import nothing from the folder that we are called in.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    try:
        code = main()
    except KeyboardInterrupt:  # again, while the words of the first were printed
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("stopped", file=sys.stderr)
        code = INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage, 128 + n stopped by signal n."""
    try:
        args = parse(argv)
    except SystemExit as stop:  # argparse has printed what was wrong
        return int(stop.code or 0)
    ensure_home()
    with visible_output():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        refuse_twice(args)
        if getattr(args, "trust", False):
            say_yes(args)
        return args.command.run(args) or 0
    except RunStoppedError as stopped:
        if is_first():
            print(f"{stopped}{args.command.when_stopped}", file=sys.stderr)
        return 128 + stopped.signal
    except KeyboardInterrupt:
        print(f"stopped{args.command.when_stopped}", file=sys.stderr)
        return INTERRUPTED
    except ConfigError as error:
        return _failed(args, error, 2)
    except Exception as error:
        return _failed(args, error, 1)


def _failed(args: argparse.Namespace, error: Exception, code: int) -> int:
    if getattr(error, "known_to_all", False) and not is_first():
        return code
    if args.debug:
        traceback.print_exc()
    words = " ".join(in_words(error).split())
    start = f"annotator3d {args.command.name}: "
    hint = ""
    if isinstance(error, _OUR_FAULTS) or not words:
        words = f"unexpected {type(error).__name__}: {words}".removesuffix(": ")
    if isinstance(error, ImportError):
        hint = " (`annotator3d doctor` shows what is missing)"
    elif code == 1 and not args.debug:
        hint = " (--debug shows where)"
    if len(start + words + hint) > LONGEST and not args.debug:
        hint = " (--debug shows all of it)"
    print(f"{start}{shortened(words, LONGEST - len(start + hint))}{hint}", file=sys.stderr)
    return code
