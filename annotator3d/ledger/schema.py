"""Tables and triggers of the ledger: the database itself enforces the rules.

Nothing is ever changed or removed. A correction, an undo or a release is a new row of `events`.
What the rows mean together is in `resolution`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, Flag, auto
from typing import NoReturn

from annotator3d.errors import in_yaml

SCHEMA_VERSION = 4
# 3 asked about every point of a voxel; 2 had no seals either, and 1 no drafts, bulk actions,
# requests and uids.
EARLIER_VERSIONS = range(1, SCHEMA_VERSION)  # that are upgraded, or read as they are
APPLICATION_ID = 0x41334C47  # "A3LG": distinguishes a ledger from other SQLite files
LEDGER_FILE = "ledger.sqlite"  # in the folder of a run


class _Word(str, Enum):
    """Members that are their stored words, on every version of Python: in SQL, JSON and texts."""

    __str__ = str.__str__
    __repr__ = str.__repr__
    __format__ = str.__format__

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"expected one of {', '.join(cls)}; got {in_yaml(value)}")


class _Trait(Flag):
    NONE = 0
    SETTLES = auto()
    LABELS = auto()
    UNDOABLE = auto()
    REVIEWS = auto()
    REVOKES = auto()
    ASKS = auto()


class EventKind(_Word):
    """Kinds of event, in the order in which the tables name them, and what each one does."""

    ANSWER = "answer", _Trait.SETTLES | _Trait.UNDOABLE | _Trait.LABELS
    SKIP = "skip", _Trait.SETTLES | _Trait.UNDOABLE
    UNSURE = "unsure", _Trait.SETTLES | _Trait.UNDOABLE
    IGNORE = "ignore", _Trait.SETTLES | _Trait.UNDOABLE
    DRAFT = "draft", _Trait.UNDOABLE | _Trait.LABELS
    UNDO = "undo", _Trait.REVOKES
    NOTE = "note", _Trait.NONE
    LEASE = "lease", _Trait.NONE
    RELEASE = "release", _Trait.NONE
    APPROVE = "approve", _Trait.REVIEWS
    REJECT = "reject", _Trait.REVIEWS | _Trait.REVOKES
    REQUEST = "request", _Trait.ASKS

    _traits: _Trait

    def __new__(cls, word: str, traits: _Trait) -> EventKind:
        self = str.__new__(cls, word)
        self._value_, self._traits = word, traits
        return self

    @property
    def settles(self) -> bool:
        """A response: one label per point, or a reason why there is none."""
        return _Trait.SETTLES in self._traits

    @property
    def gives_classes(self) -> bool:
        """Gives each point a class, or says that none fits."""
        return self in (EventKind.ANSWER, EventKind.IGNORE)

    @property
    def carries_labels(self) -> bool:
        """In a draft some points still have none; the query stays open."""
        return _Trait.LABELS in self._traits

    @property
    def is_undoable(self) -> bool:
        """A response or a draft."""
        return _Trait.UNDOABLE in self._traits

    @property
    def is_review(self) -> bool:
        """A reviewer's verdict on a response: it counts before others, or no longer."""
        return _Trait.REVIEWS in self._traits

    @property
    def ends_lease(self) -> bool:
        """The holder of the query has finished with it."""
        return self.settles or self.is_review

    @property
    def revokes(self) -> bool:
        """Takes away the event that it supersedes: by its author, or by a reviewer."""
        return _Trait.REVOKES in self._traits

    @property
    def is_revocable(self) -> bool:
        """Can be taken back by an undo."""
        return self.is_undoable or self.is_review or _Trait.ASKS in self._traits

    @property
    def decides(self) -> bool:
        """Takes part in the outcome of a query."""
        return self.is_revocable or self.revokes


class Ask(_Word):
    """What a request asks for."""

    OVERLAP = "overlap"  # another person's opinion
    REPEAT = "repeat"  # the same person's once more
    RECHECK = "again"  # a correction

    @property
    def is_independent(self) -> bool:
        """Asks for an opinion that does not know the others."""
        return self is not Ask.RECHECK


def sql_list(words: Iterable[str]) -> str:
    """Words as the right side of IN."""
    return f"({', '.join(map(repr, map(str, words)))})"


RESPONSES = sql_list(kind for kind in EventKind if kind.settles)
LABELLED = sql_list(kind for kind in EventKind if kind.carries_labels)
REVOCABLE = sql_list(kind for kind in EventKind if kind.is_revocable)
_IS_REQUEST = f"(kind = '{EventKind.REQUEST}')"
_LINKED = sql_list([*(kind for kind in EventKind if kind.revokes), EventKind.APPROVE])

NEW_UID = "lower(hex(randomblob(16)))"
NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_NOW = f"TEXT NOT NULL DEFAULT ({NOW})"


_SEAL = ", seal TEXT"  # see `seals`; NULL in a row that other software has written
_ASKED = "length(label_points) - length(replace(label_points, ',', '')) + 1"
NUM_LABELS = f"COALESCE({_ASKED}, num_points)"  # of an answer to a row of `queries`
# Places of the points that are asked about among those of the voxel in file order, from 0,
# ascending: "3,17". NULL: all of them, so that there is one way to say it.
_LABEL_POINTS = f"""
        label_points TEXT CHECK (typeof(label_points) IN ('text', 'null')
            AND label_points NOT GLOB '*[^0-9,]*'
            AND ',' || label_points || ',' NOT GLOB '*,,*' AND {_ASKED} < num_points)"""
_TABLES = {
    "meta": "key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL@",
    # Version 1 is the taxonomy the ledger was made for. A later one carries the map from the train
    # ids of the version before it, and events say which version their labels are written in.
    "taxonomies": f"""
        version INTEGER PRIMARY KEY, digest TEXT NOT NULL, classes TEXT NOT NULL,
        mapping BLOB, created_at {_NOW}@,
        CHECK ((version = 1) = (mapping IS NULL))""",
    "scans": f"""
        id TEXT PRIMARY KEY NOT NULL, fingerprint TEXT NOT NULL,
        num_points INTEGER NOT NULL CHECK (typeof(num_points) = 'integer' AND num_points >= 0),
        created_at {_NOW}@""",
    "rounds": f"""
        round INTEGER PRIMARY KEY, strategy TEXT NOT NULL,
        seed INTEGER NOT NULL CHECK (typeof(seed) = 'integer'),
        budget INTEGER NOT NULL CHECK (typeof(budget) = 'integer' AND budget >= 1),
        max_queries INTEGER CHECK (typeof(max_queries) IN ('integer', 'null')),
        num_queries INTEGER NOT NULL CHECK (num_queries >= 0),
        epoch INTEGER NOT NULL CHECK (typeof(epoch) = 'integer' AND epoch >= 0),
        source TEXT NOT NULL, created_at {_NOW}@,
        CHECK (max_queries IS NULL OR num_queries <= max_queries)""",
    # `rank` < budget and `position` < num_queries, each unique, are what bounds a round.
    "queries": f"""
        id INTEGER PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds(round),
        position INTEGER NOT NULL CHECK (typeof(position) = 'integer' AND position >= 0),
        scan TEXT NOT NULL REFERENCES scans(id),
        x INTEGER NOT NULL CHECK (typeof(x) = 'integer'),
        y INTEGER NOT NULL CHECK (typeof(y) = 'integer'),
        z INTEGER NOT NULL CHECK (typeof(z) = 'integer'),
        rank INTEGER NOT NULL CHECK (typeof(rank) = 'integer' AND rank >= 0),
        score REAL NOT NULL CHECK (typeof(score) = 'real'),
        num_points INTEGER NOT NULL CHECK (typeof(num_points) = 'integer' AND num_points >= 1),
        asked_at {_NOW}#@,
        UNIQUE (round, position), UNIQUE (round, scan, rank)""",
    # `supersedes` is the event that this one is about: undone, corrected, continued or reviewed; of
    # a redo it is the undo, of an answer to a request the request. `seconds` of a lease is how long
    # it is held. `action` is the first event of the bulk action that this one belongs to; NULL for
    # the first and for single actions. `uid` identifies the event in any file.
    "events": f"""
        id INTEGER PRIMARY KEY, query INTEGER NOT NULL REFERENCES queries(id),
        kind TEXT NOT NULL CHECK (kind IN {sql_list(EventKind)}),
        labels BLOB CHECK ((kind IN {LABELLED}) = (typeof(labels) = 'blob')
                           AND typeof(labels) IN ('blob', 'null')),
        taxonomy INTEGER NOT NULL DEFAULT 1 REFERENCES taxonomies(version),
        annotator TEXT NOT NULL,
        seconds REAL CHECK (typeof(seconds) IN ('real', 'null') AND seconds >= 0),
        clicks INTEGER CHECK (typeof(clicks) IN ('integer', 'null') AND clicks >= 0),
        proposal_accepted INTEGER CHECK (proposal_accepted IN (0, 1)),
        note TEXT CHECK (kind != '{EventKind.NOTE}' OR note IS NOT NULL),
        supersedes INTEGER REFERENCES events(id)
            CHECK (kind NOT IN {_LINKED} OR supersedes IS NOT NULL),
        created_at {_NOW}, action INTEGER REFERENCES events(id),
        ask TEXT CHECK ({_IS_REQUEST} = (ask IS NOT NULL) AND ask IN {sql_list(Ask)}),
        uid TEXT NOT NULL UNIQUE DEFAULT ({NEW_UID})@""",
}


def tables(version: int = SCHEMA_VERSION) -> dict[str, str]:
    """The columns of each table, parents first; of this version or an earlier one from 2 on."""
    seal = _SEAL if version > 2 else ""
    points = f",{_LABEL_POINTS}" if version > 3 else ""
    return {
        table: columns.replace("@", seal).replace("#", points) for table, columns in _TABLES.items()
    }


def added_since(version: int) -> dict[str, dict[str, str]]:
    """Table -> columns that a file of a version lacks, and the SQL of what they would hold."""
    missing: dict[str, dict[str, str]] = {table: {} for table in _TABLES}
    if version < 2:
        missing["events"] = {"action": "NULL", "ask": "NULL", "uid": "'event ' || id"}
    if version < 3:
        missing = {table: {**columns, "seal": "NULL"} for table, columns in missing.items()}
    if version < 4:
        missing["queries"]["label_points"] = "NULL"
    return {table: columns for table, columns in missing.items() if columns}


INDICES = (
    "CREATE INDEX queries_cell ON queries(scan, x, y, z)",
    "CREATE INDEX events_query ON events(query, kind)",
    "CREATE INDEX events_supersedes ON events(supersedes)",
)

RELEASED = (
    f"EXISTS (SELECT 1 FROM events r WHERE r.query = {{}} AND r.kind = '{EventKind.RELEASE}')"
)
UNDONE = (
    f"EXISTS (SELECT 1 FROM events u WHERE u.supersedes = {{}} AND u.kind = '{EventKind.UNDO}')"
)

PACKAGE_TABLES = (  # a work package has these too
    "CREATE TABLE package (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
    "CREATE TABLE package_scans (scan TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL,"
    " digest TEXT NOT NULL, pose BLOB, world TEXT)",
    "CREATE TABLE package_predictions (scan TEXT NOT NULL, round INTEGER NOT NULL,"
    " content BLOB NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (scan, round))",
    "CREATE TABLE package_files (name TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL,"
    " digest TEXT NOT NULL)",
)
PACKAGE_IMAGES_TABLE = (  # of packages with camera images only
    "CREATE TABLE package_images (scan TEXT NOT NULL, x INTEGER NOT NULL, y INTEGER NOT NULL,"
    " z INTEGER NOT NULL, content BLOB NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (scan, x, y, z))"
)
PACKAGE, PACKAGE_IMAGES = "table package", "table package_images"
