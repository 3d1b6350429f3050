"""What a network left in a run folder, carried over to a new class list or set aside."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np

from annotator3d.data.files import atomic_write, fsync_folder
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.metrics import describe
from annotator3d.engine.training.identity import rename_classes_in
from annotator3d.engine.workdir import WorkDir

_COUNTED = "pool_classes.json"  # points of each class; the report counts them again


def carry_over_outputs(work_dir: WorkDir, version: int) -> tuple[str, ...]:
    """Bring what networks left to class list `version`; gives the names of what was set aside.

    Where each class has kept its number a network stays what it is, and its metrics get the new
    names. Another network cannot go on: it and its metrics are renamed. Repeating does nothing.
    """
    (work_dir.path / _COUNTED).unlink(missing_ok=True)
    with work_dir.ledger() as ledger:
        names, table = ledger.taxonomy_names, ledger.to_current[version - 1]
        count = len(ledger.class_names_of(version - 1))
    if table[:count] == bytes(range(len(names))):
        _rename_classes(work_dir, names)
    else:
        _set_aside(work_dir, version - 1)
    _name_in_run_info(work_dir, names)
    return tuple(sorted(path.name for path in work_dir.path.glob(f"*.classes-{version - 1}")))


def _set_aside(work_dir: WorkDir, version: int) -> None:
    for here in (work_dir.checkpoints, work_dir.metrics_path, work_dir.adaptation):
        aside = here.with_name(f"{here.name}.classes-{version}")
        if here.exists() and not aside.exists():
            os.rename(here, aside)
    fsync_folder(work_dir.path)


def _rename_classes(work_dir: WorkDir, names: Sequence[str]) -> None:
    for folder in (work_dir.checkpoints, work_dir.adaptation):
        for checkpoint in folder.glob("*.pth"):
            rename_classes_in(checkpoint, names)
    path = work_dir.metrics_path
    if not path.is_file():
        return
    lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    named = [{**line, **describe(np.array(line["confusion"]), list(names))} for line in lines]
    with atomic_write(path) as file:
        file.write("".join(json.dumps(line) + "\n" for line in named).encode())


def _name_in_run_info(work_dir: WorkDir, names: Sequence[str]) -> None:
    if info := work_dir.run_info():
        with atomic_write(work_dir.run_info_path) as file:
            file.write(json.dumps({**info, "classes": list(names)}, indent=1).encode())
