"""Converting every scan in several processes; continues after a stop, names all damaged files."""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from annotator3d.data.files import make_folder
from annotator3d.data.importing.convert import Converted, convert, output_paths, stamp
from annotator3d.data.importing.journal import DAMAGED, Journal
from annotator3d.data.importing.rules import Rules, UnclearError
from annotator3d.data.importing.sources import Source
from annotator3d.data.processes import process_pool
from annotator3d.errors import LONGEST, shortened
from annotator3d.system_errors import in_words

_WORTH = 16  # scans of a process that make up for starting it
_SHOWN = 5  # damaged files in the message; the list of all is in a file
# OUT cannot be written: no file of SRC is to blame, and no other one would fare better.
_OUT_FAILED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

Work = Callable[[Source], "Converted | str"]


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
        make_folder(folder)
    failed = []
    work = partial(_attempt, src=src, out=out, rules=rules)
    for done, result in enumerate(_results(todo, work, journal, workers), len(known) + 1):
        if isinstance(result, Converted):
            journal.add(result)
            known[result.id] = result
        else:
            failed.append(result.replace(f"{src}{os.sep}", ""))
        if progress:
            progress(done, len(sources))
    if failed:
        raise ValueError(_refusal(failed, len(sources), journal))
    return [known[source.id] for source in sources]


def _results(
    todo: Sequence[Source], work: Work, journal: Journal, workers: int
) -> Iterator[Converted | str]:
    """What became of each scan, in any order."""
    begun = journal.begun()  # an earlier attempt ended while it read this scan
    for source in todo:
        if source.id == begun:
            yield _alone(source, work)
    todo = [source for source in todo if source.id != begun]
    workers = min(workers, len(todo) // _WORTH)
    if workers < 2:
        for source in todo:
            with journal.reading(source.id):
                result = work(source)
            yield result
        return
    waiting = deque(todo)
    while waiting:
        for source in (yield from _shared(waiting, work, workers)):
            yield _alone(source, work)


def _shared(
    waiting: deque[Source], work: Work, workers: int
) -> Generator[Converted | str, None, list[Source]]:
    """The results of several processes, until nothing waits or one of the processes dies.

    Returns the scans that were under way then: one of them may be the reason.
    """
    under_way = {}
    with process_pool(workers) as pool:
        try:
            while waiting or under_way:
                while waiting and len(under_way) < 2 * workers:
                    source = waiting.popleft()
                    under_way[source] = pool.submit(work, source)
                wait(under_way.values(), return_when=FIRST_COMPLETED)
                for source, future in list(under_way.items()):
                    if future.done():
                        result = future.result()
                        del under_way[source]
                        yield result
        except BrokenProcessPool:
            return list(dict.fromkeys([*under_way, source]))
        finally:
            pool.shutdown(cancel_futures=True)
    return []


def _alone(source: Source, work: Work) -> Converted | str:
    """The result of one scan in a process of its own, or that the process died."""
    with process_pool(1) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool:
            raise RuntimeError(
                "the processes that read the scans cannot be started; try --workers 1, and guard "
                "the main part of a script that imports"
            ) from None
        try:
            return pool.submit(work, source).result()
        except BrokenProcessPool:
            return (
                f"{source.path}: the process that read it was killed or crashed; the file is "
                "damaged, or it needs more memory than there is"
            )


def _attempt(source: Source, src: Path, out: Path, rules: Rules) -> Converted | str:
    """The scan, or what is wrong with its file: words, since not every error can be sent."""
    try:
        return convert(source, src, out, rules)
    except (KeyboardInterrupt, SystemExit, GeneratorExit, UnclearError):
        raise
    except BaseException as error:  # a panic of a Rust library is no Exception
        if isinstance(error, OSError) and error.errno in _OUT_FAILED:
            raise
        return _words(source, error)


def _words(source: Source, error: BaseException) -> str:
    """What is wrong, with the name of the file."""
    text = " ".join(in_words(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = "it needs more memory than there is"
    files = [source.path, source.labels, source.pose]
    if not any(str(path) in text for path in files if path is not None):
        text = f"{source.path}: {text}"
    return text


def _reason(words: str) -> str:
    """What is wrong, without the file's name and its numbers: equal for equal reasons."""
    return re.sub(r"\d[\d,.]*", "", words.removeprefix(_name(words)))


def _name(words: str) -> str:
    """The file that a message begins with."""
    found = re.match(r".*?\.\w+(?=[ :])", words)
    return found[0] if found else ""


def _refusal(failed: Sequence[str], total: int, journal: Journal) -> str:
    """The message of an import with damaged files; where they do not fit, a file lists all.

    Of several files with the same fault the first is told, the others are named.
    """
    journal.list_damaged(failed)
    rest = "Repair or remove them and repeat the command: it continues"
    listed = f"OUT/{DAMAGED} lists all. "
    alike: dict[str, list[str]] = {}
    for words in failed:
        alike.setdefault(_reason(words), []).append(words)
    groups = [*alike.values()][:_SHOWN]
    room = (LONGEST - 70 - len(listed + rest)) // len(groups)
    shown = [_told(group, room) for group in groups]
    untold = len(failed) - sum(map(len, groups))
    more = f"; and {untold} more" if untold else ""
    rest = listed + rest if untold or shown != list(failed) else rest
    return f"{len(failed)} of {total} scans cannot be imported: {'; '.join(shown)}{more}. {rest}"


def _told(group: Sequence[str], room: int) -> str:
    """The message of the first file, and the names of those with the same fault."""
    names = [shortened(_name(words), 60) for words in group[1:]]
    some = names[: max(1, room // 120)]
    others = f"; also {', '.join(some)}" if names else ""
    others += f" and {len(names) - len(some):,} more" if len(names) > len(some) else ""
    return shortened(group[0], room - len(others)) + others
