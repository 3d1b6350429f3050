"""Tables and triggers of the ledger: the database itself enforces the rules.

Nothing is ever changed or removed. A correction, an undo or a release is a new row of `events`.
What the rows mean together is in `resolution`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, Flag, auto
from typing import NoReturn

SCHEMA_VERSION = 2
APPLICATION_ID = 0x41334C47  # "A3LG": tells a ledger from any other SQLite file
LEDGER_FILE = "ledger.sqlite"  # in the folder of a run


class _Word(str, Enum):
    """Members that are their stored words, on every version of Python: in SQL, JSON and texts."""

    __str__ = str.__str__
    __repr__ = str.__repr__
    __format__ = str.__format__

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"expected one of {', '.join(cls)}; got {value!r}")


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
        """Says of each point which class it has, or that it has none."""
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
        """Who holds the query has done with it."""
        return self.settles or self.is_review

    @property
    def revokes(self) -> bool:
        """Takes away the event that it supersedes: by who gave it, or by a reviewer."""
        return _Trait.REVOKES in self._traits

    @property
    def is_revocable(self) -> bool:
        """Can be taken back by an undo."""
        return self.is_undoable or self.is_review or _Trait.ASKS in self._traits

    @property
    def decides(self) -> bool:
        """Has a part in where a query stands."""
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
_REVOCABLE = sql_list(kind for kind in EventKind if kind.is_revocable)
_IS_REQUEST = f"(kind = '{EventKind.REQUEST}')"
_LINKED = sql_list([*(kind for kind in EventKind if kind.revokes), EventKind.APPROVE])

NEW_UID = "lower(hex(randomblob(16)))"
NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_NOW = f"TEXT NOT NULL DEFAULT ({NOW})"


_TABLES = {
    "meta": "key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL",
    # Version 1 is the taxonomy the ledger was made for. A later one carries the map from the train
    # ids of the version before it, and events say which version their labels are written in.
    "taxonomies": f"""
        version INTEGER PRIMARY KEY, digest TEXT NOT NULL, classes TEXT NOT NULL,
        mapping BLOB, created_at {_NOW},
        CHECK ((version = 1) = (mapping IS NULL))""",
    "scans": f"""
        id TEXT PRIMARY KEY NOT NULL, fingerprint TEXT NOT NULL,
        num_points INTEGER NOT NULL CHECK (typeof(num_points) = 'integer' AND num_points >= 0),
        created_at {_NOW}""",
    "rounds": f"""
        round INTEGER PRIMARY KEY, strategy TEXT NOT NULL,
        seed INTEGER NOT NULL CHECK (typeof(seed) = 'integer'),
        budget INTEGER NOT NULL CHECK (typeof(budget) = 'integer' AND budget >= 1),
        max_queries INTEGER CHECK (typeof(max_queries) IN ('integer', 'null')),
        num_queries INTEGER NOT NULL CHECK (num_queries >= 0),
        epoch INTEGER NOT NULL CHECK (typeof(epoch) = 'integer' AND epoch >= 0),
        source TEXT NOT NULL, created_at {_NOW},
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
        asked_at {_NOW},
        UNIQUE (round, position), UNIQUE (round, scan, rank)""",
    # `supersedes` is the event that this one is about: undone, corrected, continued or reviewed; of
    # a redo it is the undo, of an answer to a request the request. `seconds` of a lease is how long
    # it is held. `action` is the first event of the bulk action that this one belongs to; NULL for
    # the first and for single actions. `uid` tells the event from all others, in any file.
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
        uid TEXT NOT NULL UNIQUE DEFAULT ({NEW_UID})""",
}

_INDICES = (
    "CREATE INDEX queries_cell ON queries(scan, x, y, z)",
    "CREATE INDEX events_query ON events(query, kind)",
    "CREATE INDEX events_supersedes ON events(supersedes)",
)

# Without `recursive_triggers`, REPLACE skips delete triggers; these see the clash before it does.
_KEYS = {
    "meta": "key = NEW.key",
    "taxonomies": "version = NEW.version",
    "scans": "id = NEW.id",
    "rounds": "round = NEW.round",
    "queries": "id = NEW.id OR (round = NEW.round AND (position = NEW.position"
    " OR (scan = NEW.scan AND rank = NEW.rank)))",
    "events": "id = NEW.id OR uid = NEW.uid",
}

_IDENTITY = (
    f"PRAGMA user_version = {SCHEMA_VERSION}",
    f"PRAGMA application_id = {APPLICATION_ID}",
)

RELEASED = (
    f"EXISTS (SELECT 1 FROM events r WHERE r.query = {{}} AND r.kind = '{EventKind.RELEASE}')"
)
UNDONE = (
    f"EXISTS (SELECT 1 FROM events u WHERE u.supersedes = {{}} AND u.kind = '{EventKind.UNDO}')"
)

_RULES = (
    (
        "taxonomies_in_turn",
        "taxonomies",
        "NEW.version IS NOT (SELECT COALESCE(MAX(version), 0) + 1 FROM taxonomies)"
        " OR (NEW.version > 1 AND length(NEW.mapping) != 256)",
        "class lists are numbered from 1 without a gap, each with a map of 256 ids from the last",
    ),
    (
        "rounds_in_turn",
        "rounds",
        "NEW.round IS NOT (SELECT COALESCE(MAX(round), 0) + 1 FROM rounds)",
        "rounds are numbered from 1 without a gap, and each is written once",
    ),
    (
        "rounds_epoch",
        "rounds",
        "NEW.epoch < (SELECT MAX(epoch) FROM rounds)",
        "a round is never scheduled at an earlier epoch than the round before it",
    ),
    (
        "queries_whole",
        "queries",
        "NEW.position >= (SELECT num_queries FROM rounds WHERE round = NEW.round)",
        "this round is complete and takes no more queries",
    ),
    (
        "queries_budget",
        "queries",
        "NEW.rank >= (SELECT budget FROM rounds WHERE round = NEW.round)",
        "more queries for one scan than the budget of the round",
    ),
    (
        "queries_once",
        "queries",
        "EXISTS (SELECT 1 FROM queries q WHERE q.scan = NEW.scan AND q.x = NEW.x AND q.y = NEW.y"
        f" AND q.z = NEW.z AND NOT {RELEASED.format('q.id')})",
        "this voxel was asked before; a voxel is never asked twice",
    ),
    (
        "events_released",
        "events",
        f"NEW.kind != '{EventKind.NOTE}' AND {RELEASED.format('NEW.query')}",
        "this query was released and takes no answer",
    ),
    (
        "events_release",
        "events",
        f"NEW.kind = '{EventKind.RELEASE}' AND EXISTS (SELECT 1 FROM events e"
        f" WHERE e.query = NEW.query AND e.kind IN {RESPONSES})",
        "somebody has answered this query; only one that nobody has answered can be released",
    ),
    (
        "events_length",
        "events",
        f"NEW.kind IN {LABELLED}"
        " AND length(NEW.labels) != (SELECT num_points FROM queries WHERE id = NEW.query)",
        "an answer has one label per point of the voxel",
    ),
    (
        "events_supersedes",
        "events",
        "NEW.supersedes IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM events e WHERE e.id = NEW.supersedes AND e.query = NEW.query)",
        "an event supersedes an earlier event of the same query",
    ),
    (
        "events_undo",
        "events",
        f"NEW.kind = '{EventKind.UNDO}' AND NOT EXISTS (SELECT 1 FROM events e"
        f" WHERE e.id = NEW.supersedes AND e.kind IN {_REVOCABLE} AND NOT {UNDONE.format('e.id')})",
        "only a response, a draft, a review or a request can be undone, and only once",
    ),
    (
        "events_action",
        "events",
        "NEW.action IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM events e WHERE e.id = NEW.action AND e.annotator = NEW.annotator)",
        "a bulk action is named by its first event, of the same annotator",
    ),
)


def _trigger(name: str, event: str, table: str, when: str, message: str) -> str:
    return (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {when}"
        f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def statements() -> list[str]:
    """Everything that makes an empty database a ledger, to be run in one transaction."""
    made = [f"CREATE TABLE {table} ({columns})" for table, columns in _TABLES.items()]
    return [*made, *_INDICES, *_triggers(), *_IDENTITY]


def upgrade_statements() -> list[str]:
    """What turns a file of version 1 into this one; its triggers must have been dropped.

    Version 1 had no drafts, bulk actions, requests and uids. SQLite cannot change a CHECK, so the
    events move to a new table (https://sqlite.org/lang_altertable.html, section 7; foreign keys
    must be off).
    """
    return [
        f"CREATE TABLE new_events ({_TABLES['events']})",
        f"INSERT INTO new_events SELECT *, NULL, NULL, {NEW_UID} FROM events",
        "DROP TABLE events",
        "ALTER TABLE new_events RENAME TO events",
        *(index for index in _INDICES if " ON events(" in index),
        f"INSERT INTO meta VALUES ('ledger_id', {NEW_UID})",
        *_triggers(),
        *_IDENTITY,
    ]


def _triggers() -> list[str]:
    made = []
    for table, same in _KEYS.items():
        message = f"the ledger is append-only: a row of {table} is never changed or removed"
        clash = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"
        made += [
            _trigger(f"{table}_no_update", "UPDATE", table, "1", message),
            _trigger(f"{table}_no_delete", "DELETE", table, "1", message),
            _trigger(f"{table}_no_replace", "INSERT", table, clash, message),
        ]
    return made + [_trigger(name, "INSERT", *rule) for name, *rule in _RULES]
