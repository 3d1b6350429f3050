"""What an import has done so far, so that a stopped one continues where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from annotator3d.data.files import make_folder
from annotator3d.data.importing.card import CARD
from annotator3d.data.importing.convert import Converted, from_json, output_paths, to_json
from annotator3d.data.plain_json import parse_json

NAME = ".import.jsonl"
_BEGUN = ".import.reading"  # beside it: the id of the scan that is being read
_ASKED = ".import.asked"  # beside it: the import ended with a question
DAMAGED = "import-errors.txt"


class Journal:
    """The scans that are written, one line each; the first line has the digest of the rules.

    Args:
        out: folder of the dataset; made by `claim`.
        digest: of the rules.
    """

    def __init__(self, out: Path, digest: str) -> None:
        self.out, self.digest, self.path = out, digest, out / NAME

    def claim(self) -> dict[str, Converted]:
        """Claim the folder and return the scans that are already written, by id.

        Raises ValueError when it holds a finished dataset, an import by other rules, or anything
        else.
        """
        make_folder(self.out)
        held = sorted(entry.name for entry in self.out.iterdir())
        if CARD in held and NAME not in held:
            raise ValueError(
                f"{self.out} already holds a dataset ({CARD}); choose another OUT, or delete it"
            )
        if not held:
            with open(self.path, "x", encoding="utf-8") as file:
                file.write(json.dumps({"rules": self.digest}) + "\n")
            return {}
        if NAME not in held:
            raise ValueError(
                f"OUT must be a new or empty folder; {self.out} holds {', '.join(held[:5])}"
            )
        if (self.out / _ASKED).exists():
            self._begin_again()
        lines = self._lines()
        if not lines or lines[0].get("rules") != self.digest:
            raise ValueError(
                f"{self.out} holds an unfinished import with other options; use the same options "
                "again, or delete the folder"
            )
        scans = [from_json(line) for line in lines[1:]]
        return {scan.id: scan for scan in scans if self._is_whole(scan)}

    def ask(self) -> None:
        """Note that the import ended with a question, so that other options may answer it."""
        if self.path.exists():
            (self.out / _ASKED).touch()

    def add(self, scan: Converted) -> None:
        """Add a scan whose files are written."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(to_json(scan)) + "\n")

    @contextmanager
    def reading(self, scan_id: str) -> Iterator[None]:
        """Note which scan is read: if it kills the process, the next attempt knows."""
        path = self.out / _BEGUN
        path.write_text(scan_id, encoding="utf-8")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def begun(self) -> str | None:
        """The scan that an earlier attempt read when it ended, if that is known."""
        path = self.out / _BEGUN
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def list_damaged(self, failed: Sequence[str]) -> None:
        """Write ``import-errors.txt``: one line for each file that cannot be imported."""
        text = "".join(f"{words}\n" for words in failed)
        (self.out / DAMAGED).write_text(text, encoding="utf-8", errors="surrogateescape")

    def finish(self) -> None:
        """Remove the journal: the dataset is complete."""
        (self.out / _ASKED).unlink(missing_ok=True)
        (self.out / _BEGUN).unlink(missing_ok=True)
        (self.out / DAMAGED).unlink(missing_ok=True)
        os.unlink(self.path)

    def _begin_again(self) -> None:
        """Keep what is done under the same options, and nothing that was done under others."""
        lines = self._lines()
        if not lines or lines[0].get("rules") != self.digest:
            self.path.write_text(json.dumps({"rules": self.digest}) + "\n", encoding="utf-8")
        (self.out / _ASKED).unlink()

    def _is_whole(self, scan: Converted) -> bool:
        points, labels = output_paths(self.out, scan.id)
        sizes = [(points, 16 * scan.points)]
        sizes += [(labels, 4 * scan.points)] if scan.classes is not None else []
        return all(path.is_file() and path.stat().st_size == size for path, size in sizes)

    def _lines(self) -> list[dict]:
        """Every complete line; a kill may have cut off the last one."""
        found = []
        for line in self.path.read_text(encoding="utf-8").split("\n"):
            try:
                found.append(parse_json(line))
            except ValueError:
                break
        self._trim(len(found))
        return found

    def _trim(self, lines: int) -> None:
        """Remove an incomplete last line, so that the next one starts on a line of its own."""
        data = self.path.read_bytes()
        end = sum(len(part) + 1 for part in data.split(b"\n")[:lines])
        if end != len(data):
            with open(self.path, "r+b") as file:
                file.truncate(min(end, len(data)))
