"""Carrying the answers of a ledger over to another class list.

A migration is one row of `taxonomies`: the new class list, and what each old class became. No
answer is rewritten. Whatever reads the ledger sees all answers in the new classes, those included
that arrive later from somebody who still had the old ones. The points of a class that was split
read as not labelled yet, so that their queries are open again and the other points keep theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger import seals
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, UNASSIGNED

FATES = ("kept", "renamed", "merged", "split", "removed")


@dataclass(frozen=True)
class Fate:
    """What becomes of a class and of its labels."""

    name: str
    fate: str  # of `FATES`
    becomes: tuple[str, ...]  # new classes; of a split those to choose from, if they are known
    voxels: int  # effective answers that have the class
    points: int


@dataclass(frozen=True)
class Migration:
    """A class list to come, compared with that of a ledger. Made by `plan`."""

    names: tuple[str, ...]
    digest: str
    table: bytes  # [256] new train id by old one; 254 = to be labelled again, 255 = no class
    fates: tuple[Fate, ...]  # of the old classes, by train id
    added: tuple[str, ...]  # new classes that no old one becomes
    reopened: int  # queries that have to be answered again, in part
    version: int  # of the class list that it starts from
    disputed: int = 0  # disputed queries in which somebody gave a class that is split


def targets_by_raw_id(
    old: Mapping[int, int], new: Mapping[int, int], count: int
) -> dict[int, frozenset[int]]:
    """New train ids of the raw ids of each old class.

    Args:
        old, new: raw id -> train id, 255 = ignored (`Taxonomy.learning_map`).
        count: number of old classes.
    """
    return {
        train: frozenset(new[raw] for raw, t in old.items() if t == train and raw in new)
        for train in range(count)
    }


def plan(
    ledger: LedgerReader,
    names: Sequence[str],
    digest: str,
    *,
    by_raw_id: Mapping[int, frozenset[int]] | None = None,
    become: Mapping[str, str] | None = None,
    split: Mapping[str, Sequence[str]] | None = None,
    removed: Sequence[str] = (),
) -> Migration:
    """What a migration would do; nothing is written.

    A class becomes what `become`, `split` or `removed` say; else the class of the same name, unless
    its raw ids are of other classes now; else the one class that all its raw ids belong to now
    (several: it is split).

    Args:
        names, digest: of the new taxonomy.
        by_raw_id: see `targets_by_raw_id`; None where the old raw ids are not known.
        become: old class -> new class. split: old class -> the new classes that it was split into.

    Raises:
        ConfigError: an unknown class, or one that is named twice in the options.
        ValueError: nothing differs, or nothing says what a class becomes.
    """
    become, split = dict(become or {}), {k: tuple(v) for k, v in (split or {}).items()}
    old, names = ledger.taxonomy_names, tuple(names)
    _check_options(old, names, become, split, removed)
    if names == old and ledger.taxonomy_digest == digest:
        raise ValueError(f"{ledger.path} has this class list already; there is nothing to migrate")
    table, found = bytearray([IGNORE]) * 256, []
    table[UNASSIGNED] = UNASSIGNED
    for train, name in enumerate(old):
        targets = _targets(name, train, names, by_raw_id, become, split, removed, ledger.path)
        chosen, is_split = sorted(targets), name in split or len(targets) > 1
        if is_split:
            table[train] = UNASSIGNED
        elif chosen:
            table[train] = chosen[0]
        found.append((name, tuple(names[i] for i in chosen), is_split))
    voxels, points, reopened = _count(ledger, bytes(table))
    disputed = _count_disputed(ledger, {i for i in range(len(old)) if table[i] == UNASSIGNED})
    reached = [becomes for _, becomes, is_split in found if not is_split]
    fates = tuple(
        Fate(name, _fate(name, becomes, is_split, reached), becomes, voxels[train], points[train])
        for train, (name, becomes, is_split) in enumerate(found)
    )
    known = {name for fate in fates for name in fate.becomes}
    added = tuple(name for name in names if name not in known)
    version = ledger.taxonomy_version
    return Migration(names, digest, bytes(table), fates, added, reopened, version, disputed)


def migrate(ledger: Ledger, migration: Migration) -> int:
    """Write a migration, in one transaction; gives the version of the new class list.

    The ledger must be opened again to read it in the new classes.

    Raises ValueError if the class list has changed since the plan was made.
    """
    with ledger.file.transaction() as db:
        if ledger.taxonomy_version != migration.version:
            raise ValueError(
                f"the class list of {ledger.path} is of version {ledger.taxonomy_version}, the "
                f"plan was made for version {migration.version}; plan it again"
            )
        version = migration.version + 1
        row = {"version": version, "digest": migration.digest, "mapping": migration.table}
        seals.insert(db, "taxonomies", {**row, "classes": json.dumps(migration.names)})
    return version


def _targets(
    name: str,
    train: int,
    names: tuple[str, ...],
    by_raw_id: Mapping[int, frozenset[int]] | None,
    become: Mapping[str, str],
    split: Mapping[str, tuple[str, ...]],
    removed: Sequence[str],
    path: object,
) -> frozenset[int]:
    """New train ids of a class: none, if it goes."""
    if name in become:
        return frozenset([names.index(become[name])])
    if name in split:
        return frozenset(names.index(part) for part in split[name])
    if name in removed:
        return frozenset()
    namesake = names.index(name) if name in names else None
    targets = frozenset() if by_raw_id is None else by_raw_id.get(train, frozenset())
    classes = [names[target] for target in sorted(targets - {IGNORE})]
    if namesake is not None:
        if classes in ([], [name]):
            return frozenset([namesake])
        raise ValueError(
            f"class {name!r} keeps its name, but its raw ids belong to {' and '.join(classes)} "
            f"now: add --map {name}={name} to keep its labels, or --split {name}="
            f"{','.join(classes)} to label its points again"
        )
    if targets and IGNORE not in targets:
        return targets
    void = f" and some of its raw ids belong to no class now{_besides(classes)}" if targets else ""
    raise ValueError(
        f"class {name!r} of {path} is not in the new class list (nearest: "
        f"{nearest(name, names)}){void}; say what it becomes: --map {name}=NEW, "
        f"--split {name}=A,B to label it again, or --remove {name}"
    )


def _besides(classes: Sequence[str]) -> str:
    return f", others of {' and '.join(classes)}" if classes else ""


def _check_options(
    old: tuple[str, ...],
    names: tuple[str, ...],
    become: Mapping[str, str],
    split: Mapping[str, tuple[str, ...]],
    removed: Sequence[str],
) -> None:
    given = [*become, *split, *removed]
    for name in given:
        if name not in old:
            raise ConfigError(f"the ledger has no class {name!r}: {nearest(name, old)}")
        if given.count(name) > 1:
            raise ConfigError(f"class {name!r} is named twice; say once what it becomes")
    for name in [*become.values(), *(part for parts in split.values() for part in parts)]:
        if name not in names:
            raise ConfigError(f"the new class list has no {name!r}: {nearest(name, names)}")


def _count(ledger: LedgerReader, table: bytes) -> tuple[list[int], list[int], int]:
    """(voxels, points) of each old class in the effective answers, and queries to be reopened."""
    voxels, points = np.zeros(256, np.int64), np.zeros(256, np.int64)
    reopened = 0
    for _, entry in ledger.labels():
        found = np.bincount(entry.labels, minlength=256)
        voxels += found > 0
        points += found
        reopened += UNASSIGNED in entry.labels.tobytes().translate(table)
    return voxels.tolist(), points.tolist(), reopened


def _count_disputed(ledger: LedgerReader, split: set[int]) -> int:
    opinions = (where.active_responses for _, where in ledger.outcomes() if where.disputed)
    return sum(any(split.intersection(e.labels or ()) for e in current) for current in opinions)


def _fate(
    name: str, becomes: tuple[str, ...], is_split: bool, reached: Sequence[tuple[str, ...]]
) -> str:
    if is_split:
        return "split"
    if not becomes:
        return "removed"
    if reached.count(becomes) > 1:
        return "merged"
    return "kept" if becomes == (name,) else "renamed"
