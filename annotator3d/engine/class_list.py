"""Which class list a config means, for a ledger that may have gone over to another one."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from annotator3d.data.files import atomic_write
from annotator3d.data.importing.card import TAXONOMY
from annotator3d.data.taxonomy import Taxonomy, load_taxonomy
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.workdir import card_of, config_of, root_of
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.registry import DATASETS, lookup


def taxonomy_of(values: dict | None, root: str | None = None) -> Taxonomy | None:
    """The class list of a dataset's config, without opening it; None where it cannot be read.

    Args:
        values: such as ``data.train``.
        root: where the dataset is, if not where the config says.
    """
    if values is None:
        return None
    name = values.get("taxonomy")
    if name is None:
        cls, root = lookup(DATASETS, values["type"]), root or values.get("root")
        own = None if root is None or cls.makes_itself else Path(root) / TAXONOMY
        name = own if own is not None and own.is_file() else cls.TAXONOMY
    try:
        return load_taxonomy(name)
    except (OSError, ValueError):
        return None


def with_todays_classes(
    config: RunConfig, work_dir: Path, data_root: str | None = None
) -> RunConfig:
    """`config`, or, if it names an earlier class list of the ledger, with that of today.

    `annotator3d taxonomy migrate` has left today's in the config that the work directory keeps.

    Raises ValueError where it was begun and has not come to its end.
    """
    path = work_dir / "ledger.sqlite"
    if not path.is_file():
        return config
    with Ledger.read(path) as ledger:
        earlier, now = ledger.earlier_digests(), ledger.taxonomy_digest
        refuse_unfinished(work_dir, ledger.taxonomy_version)
    root = data_root or root_of(card_of(work_dir), "train")
    meant = taxonomy_of(config.data.train, root) if earlier else None
    if meant is None or meant.digest() == now or meant.digest() not in earlier:
        return config
    try:
        kept = config_of(work_dir)
    except ConfigError:
        return config  # opening the ledger with it says what differs
    changed = {}
    for name in ("train", "val", "source"):
        values, todays = getattr(config.data, name), getattr(kept.data, name)
        if values is not None and todays is not None and "taxonomy" in todays:
            changed[name] = {**values, "taxonomy": todays["taxonomy"]}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changed))


_NOTE = "migration.json"


def kept_classes(work_dir: Path, version: int) -> Path:
    """Where the class list of that version is kept."""
    return work_dir / f"taxonomy-{version}.yaml"


def note_migration(work_dir: Path, version: int, settings: Sequence[str]) -> None:
    """Say that the class list is about to become that of `version`.

    Args:
        settings: for the config of the run, as ``--set`` takes them.
    """
    with atomic_write(work_dir / _NOTE) as file:
        file.write(json.dumps({"version": version, "settings": list(settings)}).encode())


def forget_migration(work_dir: Path) -> None:
    (work_dir / _NOTE).unlink(missing_ok=True)


def is_unfinished(work_dir: Path, version: int) -> bool:
    """Whether the ledger came to class list `version`, its newest, and the rest did not."""
    return _note(work_dir).get("version") == version


def refuse_unfinished(work_dir: Path, version: int) -> None:
    """Raise ValueError with the command that ends the migration, if there is one to be ended."""
    if not is_unfinished(work_dir, version):
        return
    settings = [part for each in _note(work_dir)["settings"] for part in ("--set", each)]
    classes = str(kept_classes(work_dir, version))
    command = ["annotator3d", "taxonomy", "migrate", str(work_dir), classes, "--apply", *settings]
    raise ValueError(
        f"a migration of {work_dir} to another class list was started but did not finish. No "
        "answer is lost. Run the same `taxonomy migrate` again, or: " + shlex.join(command)
    )


def _note(work_dir: Path) -> dict:
    path = work_dir / _NOTE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
