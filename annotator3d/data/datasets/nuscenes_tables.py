"""nuScenes' JSON tables, row by row, and its official scene lists.

Tables: https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md. That of all
sensors' files (sample_data) has 2.6 million rows, of which a LiDAR's key frames are 1 %: it is
searched, not loaded.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from annotator3d.data.plain_json import parse_json

_LISTS = Path(__file__).parent / "splits" / "nuscenes.yaml"


def scenes_of(name: str) -> list[str]:
    """Names such as ``scene-0061`` of an official list: train, val, test, mini_train, mini_val."""
    lists = yaml.safe_load(_LISTS.read_text(encoding="utf-8"))
    numbers: list[int] = []
    for part in str(lists[name]).split():
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return [f"scene-{number:04d}" for number in numbers]


def rows(path: Path, *fields: str, having: bytes = b"{") -> Iterator[list[Any]]:
    """The values of ``fields`` of each row of a table, in its order.

    Args:
        path: a JSON list of flat objects.
        having: only rows with these bytes in them.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it is damaged, or a row lacks a field.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path}")
    at = 0
    with open(path, "rb") as file:
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty: unpack it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as table:
            while (hit := table.find(having, at)) >= 0:
                start, end = table.rfind(b"{", at, hit + 1), table.find(b"}", hit) + 1
                try:
                    row = parse_json(table[start:end])
                    yield [row[field] for field in fields]
                except ValueError as error:
                    raise ValueError(
                        f"{path} is damaged at byte {start}: {error}; unpack it again"
                    ) from None
                except KeyError as error:
                    raise ValueError(
                        f"{path}: a row has no field {error}, only {', '.join(row)}"
                    ) from None
                at = end
