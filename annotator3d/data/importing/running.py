"""Converting every scan in several processes; continues after a stop, lists all damaged files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from annotator3d.data.importing.convert import Converted, convert, output_paths, stamp
from annotator3d.data.importing.journal import Journal
from annotator3d.data.importing.rules import Rules
from annotator3d.data.importing.sources import Source
from annotator3d.errors import LONGEST, shortened

_SHOWN = 5
_WORTH = 16  # scans of a process that make up for starting it


def convert_all(
    sources: Sequence[Source],
    src: Path,
    out: Path,
    rules: Rules,
    journal: Journal,
    progress: Callable[[int, int], None] | None,
    workers: int,
) -> list[Converted]:
    """Every scan, including those of an earlier attempt; one error lists all damaged files."""
    known = journal.claim()
    known = {
        s.id: known[s.id]
        for s in sources
        if s.id in known
        and known[s.id].source == s.path.relative_to(src).as_posix()
        and known[s.id].stamp == stamp(s)
    }
    todo = [source for source in sources if source.id not in known]
    for folder in {path.parent for s in todo for path in output_paths(out, s.id)}:
        folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for done, result in enumerate(_results(todo, src, out, rules, workers), len(known) + 1):
        if isinstance(result, Converted):
            journal.add(result)
            known[result.id] = result
        else:
            failed.append(result)
        if progress:
            progress(done, len(sources))
    if failed:
        more = f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
        room = (LONGEST - 180) // min(len(failed), _SHOWN)
        shown = "; ".join(shortened(words, room) for words in failed[:_SHOWN])
        raise ValueError(
            f"{len(failed)} of {len(sources)} scans cannot be imported: "
            f"{shown}{more}. Repair or remove them and repeat the command: it "
            "continues"
        )
    return [known[source.id] for source in sources]


def _results(
    todo: Sequence[Source], src: Path, out: Path, rules: Rules, workers: int
) -> Iterator[Converted | str]:
    work = partial(_attempt, src=src, out=out, rules=rules)
    workers = min(workers, len(todo) // _WORTH)
    if workers < 2:
        yield from map(work, todo)
        return
    # Not forked: the caller may hold threads (torch), which do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, todo, chunksize=max(1, min(8, len(todo) // workers)))


def _attempt(source: Source, src: Path, out: Path, rules: Rules) -> Converted | str:
    """The scan, or what is wrong with its file."""
    try:
        return convert(source, src, out, rules)
    except ValueError as error:
        return str(error).replace(f"{src}{os.sep}", "")
