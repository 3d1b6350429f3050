"""What every mixing recipe is: two scans with the labels that training knows, and what is drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import IGNORE, Scan
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import ConfigError, in_yaml, nearest
from annotator3d.registry import MIXES, build


class Piece(NamedTuple):
    """Points of a scan that come into a mix, turned about the sensor's z axis."""

    scan: Scan
    rows: NDArray[np.int64]
    turn: float = 0.0  # radians, counter-clockwise


class MixRecipe(ABC):
    """How a training scan is mixed with another one.

    A subclass gives `pieces`; it depends on its arguments alone and draws from `random` only.

    Args:
        probability: of a scan to be mixed at all.

    Attributes:
        keeps_source: whether ADA trains on batches of source scans too, beside the mixed ones.
        dense: whether a mix has about as many points as a scan.
    """

    keeps_source: ClassVar[bool] = True
    dense: bool = True

    def __init__(self, *, probability: float = 1.0) -> None:
        self.probability = require("probability", probability, 0, 1)

    def prepare(self, taxonomy: Taxonomy) -> None:  # noqa: B027  most name no class
        """Look up the classes that the recipe names, before anything is mixed.

        Raises:
            ConfigError: an unknown class.
        """

    @abstractmethod
    def pieces(self, own: Scan, other: Scan, random: np.random.Generator) -> list[Piece]:
        """The parts of the mix that takes the place of `own`.

        Args:
            own, other: as recorded; their ``labels`` are what training knows, 255 elsewhere.
        """


def get_recipe(config: str | dict[str, Any]) -> MixRecipe:
    """The recipe of a registered name, or of a table with its ``type`` and its own keywords.

    Raises:
        ConfigError: the name is unknown. ValueError: a keyword is outside its range.
    """
    return build(MIXES, {"type": config} if isinstance(config, str) else config)


@dataclass(frozen=True)
class Mixture:
    """A mixed scan, and where each of its points comes from."""

    scan: Scan
    is_other: NDArray[np.bool_]  # [N]
    rows: NDArray[np.int64]  # [N] of the other scan, or of its own

    def gather(self, own: NDArray, other: NDArray) -> NDArray:
        """Values of the two scans' points as values of the mix's points."""
        found = np.empty(len(self.rows), own.dtype)
        for values, there in ((own, ~self.is_other), (other, self.is_other)):
            found[there] = values[self.rows[there]]
        return found


def join(own: Scan, pieces: Sequence[Piece]) -> Mixture:
    """The scan of these pieces.

    It has the id of `own`, and rings where all of its pieces have some.
    """
    rows = np.concatenate([piece.rows for piece in pieces])
    rings = all(piece.scan.ring is not None for piece in pieces)
    mixed = Scan(
        id=own.id,
        xyz=np.concatenate([turned(p.scan.xyz[p.rows], p.turn) for p in pieces]),
        intensity=np.concatenate([p.scan.intensity[p.rows] for p in pieces]),
        labels=np.concatenate([p.scan.labels[p.rows] for p in pieces]),
        rows=np.arange(len(rows), dtype=np.int64),
        num_raw=len(rows),
        ring=np.concatenate([p.scan.ring[p.rows] for p in pieces]) if rings else None,
    )
    is_other = np.concatenate([np.full(len(p.rows), p.scan is not own) for p in pieces])
    return Mixture(mixed, is_other, rows)


def turned(xyz: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """Points [N, 3] turned counter-clockwise about z; those given for an angle of 0."""
    if angle == 0:
        return xyz
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y, z = xyz.T
    return np.column_stack([cos * x - sin * y, sin * x + cos * y, z])


def all_of(scan: Scan) -> Piece:
    return Piece(scan, np.arange(len(scan)))


def labelled(scan: Scan) -> NDArray[np.int64]:
    """Rows of the points that have a class."""
    return np.flatnonzero(scan.labels != IGNORE)


def require(name: str, value: float, least: float, most: float) -> float:
    """`value`, if it is from `least` to `most`; else ValueError with the keyword's name."""
    if not least <= value <= most:
        raise ValueError(f"{name}: expected a number from {least} to {most}, got {in_yaml(value)}")
    return value


def class_ids(names: Sequence[str], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Train ids of classes by their names; ConfigError for an unknown one, with the nearest."""
    for name in names:
        if name not in taxonomy.names:
            known = nearest(name, taxonomy.names)
            raise ConfigError(f"training.mix.classes: no class {name!r}: {known}")
    return np.array([taxonomy.names.index(name) for name in names], np.uint8)
