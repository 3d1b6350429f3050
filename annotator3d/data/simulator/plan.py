"""What to simulate, and the folder that holds it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.plain_json import parse_json
from annotator3d.data.simulator.domains import VERSION, get_domain
from annotator3d.errors import in_yaml

CARD = "simulation.json"
STARTED = "simulation.started.json"
# Frames have six digits; beyond the others a single scan or its list does not fit into memory.
MOST = {"sequences": 10_000, "scans": 1_000_000, "beams": 4096, "azimuths": 1_000_000}


@dataclass(frozen=True)
class Plan:
    """Everything that the bytes of a simulation depend on (besides the machine's numpy)."""

    domain: str
    sequences: int
    scans: int
    seed: int
    beams: int
    azimuths: int
    first_sequence: int
    spacing: float
    version: int = VERSION

    def __post_init__(self) -> None:
        get_domain(self.domain)
        for name, most in MOST.items():
            whole(name, getattr(self, name), 1, most)
        whole("seed", self.seed, 0)
        whole("first_sequence", self.first_sequence, 0, 10**6)
        if not 0 < self.spacing <= 50:
            raise ValueError(f"spacing: expected metres in 0..50, got {in_yaml(self.spacing)}")

    def frames(self) -> list[tuple[int, int]]:
        """(sequence, scan) of every scan, in order."""
        last = self.first_sequence + self.sequences
        return [(q, k) for q in range(self.first_sequence, last) for k in range(self.scans)]


def claim(root: Path, plan: Plan) -> bool:
    """Take an empty folder, or one that holds this simulation; True when it was finished."""
    for name in (CARD, STARTED):
        if (root / name).exists():
            _same(root / name, plan)
            return name == CARD
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(
            f"out: {root} is not empty and holds no simulation ({CARD}); choose a new folder"
        )
    make_folder(root)
    with atomic_write(root / STARTED) as file:
        file.write(card(plan))
    return False


def _same(path: Path, plan: Plan) -> None:
    found, wanted = parse_json(path.read_text(encoding="utf-8")), asdict(plan)
    if found != wanted:
        keys = [k for k in wanted if not isinstance(found, dict) or found.get(k) != wanted[k]]
        raise ValueError(
            f"out: {path.parent} holds another simulation ({', '.join(keys) or 'the keys'} in "
            f"{path.name} differ); choose a new folder or remove this one"
        )


def card(plan: Plan) -> bytes:
    return (json.dumps(asdict(plan), indent=2) + "\n").encode()


def whole(name: str, value: object, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"{name}: expected a whole number of at least {least}, got {in_yaml(value)}"
        )
    if most is not None and value > most:
        raise ValueError(f"{name}: expected at most {most:,}, got {value:,}")
