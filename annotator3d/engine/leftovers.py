"""What a network left in a work directory, when the class list changes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annotator3d.active.ledger import Ledger
from annotator3d.data.files import atomic_write, fsync_folder
from annotator3d.engine.metrics import describe

_MADE_BY_IT = ("checkpoints", "metrics.jsonl")
_COUNTED = "pool_classes.json"  # points of each class; the report counts them again


def take_over(work_dir: Path, version: int) -> tuple[str, ...]:
    """Bring what networks left to class list `version`; gives the names of what was set aside.

    Where each class has kept its number a network stays what it is, and its measures get the new
    names. Another one cannot go on: it and its measures are renamed. Doing it again does nothing.
    """
    (work_dir / _COUNTED).unlink(missing_ok=True)
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names, table = ledger.taxonomy_names, ledger.to_today[version - 1]
        count = len(ledger.class_names_of(version - 1))
    if table[:count] == bytes(range(len(names))):
        _rename_classes(work_dir, names)
    else:
        _set_aside(work_dir, version - 1)
    _name_in_card(work_dir / "run.json", names)
    return tuple(sorted(path.name for path in work_dir.glob(f"*.classes-{version - 1}")))


def _set_aside(work_dir: Path, version: int) -> None:
    for name in _MADE_BY_IT:
        here, aside = work_dir / name, work_dir / f"{name}.classes-{version}"
        if here.exists() and not aside.exists():
            os.rename(here, aside)
    fsync_folder(work_dir)


def _rename_classes(work_dir: Path, names: Sequence[str]) -> None:
    path = work_dir / "metrics.jsonl"
    if not path.is_file():
        return
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    named = [{**line, **describe(np.array(line["confusion"]), list(names))} for line in lines]
    with atomic_write(path) as file:
        file.write("".join(json.dumps(line) + "\n" for line in named).encode())


def _name_in_card(path: Path, names: Sequence[str]) -> None:
    if path.is_file():
        card = {**json.loads(path.read_text(encoding="utf-8")), "classes": list(names)}
        with atomic_write(path) as file:
            file.write(json.dumps(card, indent=1).encode())
