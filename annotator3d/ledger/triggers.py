"""The rules of the ledger as triggers: they hold in the database itself, whatever writes to it."""

from __future__ import annotations

from annotator3d.ledger.schema import (
    LABELLED,
    NUM_LABELS,
    RELEASED,
    RESPONSES,
    REVOCABLE,
    SCHEMA_VERSION,
    UNDONE,
    EventKind,
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
        f" AND length(NEW.labels) != (SELECT {NUM_LABELS} FROM queries WHERE id = NEW.query)",
        "an answer has one label per point that is asked about",
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
        f" WHERE e.id = NEW.supersedes AND e.kind IN {REVOCABLE} AND NOT {UNDONE.format('e.id')})",
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


_RULES_TO_3 = {  # of files of earlier versions, which asked about every point
    "events_length": (
        "events",
        f"NEW.kind IN {LABELLED}"
        " AND length(NEW.labels) != (SELECT num_points FROM queries WHERE id = NEW.query)",
        "an answer has one label per point of the voxel",
    ),
}


def triggers(version: int = SCHEMA_VERSION) -> list[str]:
    """The statements that make them; in a file of this version or an earlier one from 2 on."""
    made, then = [], _RULES_TO_3 if version < 4 else {}
    for table, same in _KEYS.items():
        message = f"the ledger is append-only: a row of {table} is never changed or removed"
        clash = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"
        made += [
            _trigger(f"{table}_no_update", "UPDATE", table, "1", message),
            _trigger(f"{table}_no_delete", "DELETE", table, "1", message),
            _trigger(f"{table}_no_replace", "INSERT", table, clash, message),
        ]
    return made + [_trigger(name, "INSERT", *then.get(name, rule)) for name, *rule in _RULES]


def _trigger(name: str, event: str, table: str, when: str, message: str) -> str:
    return (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {when}"
        f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )
