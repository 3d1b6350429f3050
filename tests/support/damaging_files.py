"""Reads damaged files one after the other with little memory; a program, for a process of its own.

    python damaging_files.py FILE FORMAT SEED COUNT [COLUMNS]

Each example is FILE with bytes flipped, cut off, doubled, or with a number of its header replaced
by a huge one. It prints a line for each example that did not end as it must: with a cloud, or with
a ValueError that names the file.
"""

from __future__ import annotations

import random
import re
import resource
import signal
import sys
from pathlib import Path

SECONDS = 30  # for one example of some kilobytes: so much only a hang takes
MEMORY = 1 << 30  # bytes beyond what the libraries take
HUGE = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 10**11, 2**63 - 1, 2**64 - 1)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """One example."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        how = draw.choice(
            ["flip", "cut", "lie", "lie", "lie", "digits", "digits", "noise", "twice"]
        )
        at = draw.randrange(max(len(changed), 1))
        if how == "cut":
            del changed[at:]
        elif how == "twice":
            changed[at:at] = changed[at : at + draw.randrange(1, 200)]
        elif how == "noise":
            changed[at : at + 16] = draw.randbytes(min(16, max(len(changed) - at, 0)))
        elif how == "digits":
            numbers = list(re.finditer(rb"\d+", bytes(changed[:600])))
            if numbers:
                one = draw.choice(numbers)
                changed[one.start() : one.end()] = b"%d" % draw.choice(HUGE)
        elif how == "lie":
            size = draw.choice([1, 2, 4, 8])
            at = draw.randrange(max(min(len(changed), 600), 1))
            number = draw.choice(HUGE) & (256**size - 1)
            changed[at : at + size] = number.to_bytes(size, "little")[: max(len(changed) - at, 0)]
        elif changed:
            changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def main(path: Path, format: str, seed: int, count: int, columns: list[str] | None) -> None:
    from annotator3d.data.formats.registry import read_cloud

    data = path.read_bytes()
    read_cloud(path, format, columns)  # now every library is loaded
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    example = path.with_name(f"example.{format}")
    for number in range(count):
        content = damaged(data, random.Random(f"{seed}/{number}"))
        example.write_bytes(content)
        print(f"example {number}", file=sys.stderr, flush=True)  # the last one, if this dies
        signal.alarm(SECONDS)
        try:
            read_cloud(example, format, columns)
        except ValueError as error:
            if example.name not in str(error):
                print(f"{number}: not named: {error}")
        except BaseException as error:
            print(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        signal.alarm(0)


if __name__ == "__main__":
    file, format, seed, count, *columns = sys.argv[1:]
    main(Path(file), format, int(seed), int(count), columns or None)
