"""The class list that a config means, where the ledger has gone over to another one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from annotator3d.data.importing.card import TAXONOMY
from annotator3d.data.taxonomy import Taxonomy, load_taxonomy
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.interrupted_migration import refuse_interrupted
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
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


def with_current_classes(
    config: RunConfig, work_dir: WorkDir, data_root: str | None = None
) -> RunConfig:
    """`config` with the current class list of the ledger, if it names an earlier one.

    `annotator3d taxonomy migrate` has left the current one in the config of the work directory.

    Raises ValueError where a migration was interrupted.
    """
    if not work_dir.has_ledger():
        return config
    with work_dir.ledger() as ledger:
        earlier, current = ledger.earlier_digests(), ledger.taxonomy_digest
        refuse_interrupted(work_dir, ledger.taxonomy_version)
    root = data_root or work_dir.data_root("train")
    meant = taxonomy_of(config.data.train, root) if earlier else None
    if meant is None or meant.digest() == current or meant.digest() not in earlier:
        return config
    try:
        kept = work_dir.config()
    except ConfigError:
        return config  # opening the ledger with it says what differs
    changed = {}
    for name in ("train", "val", "source"):
        values, migrated = getattr(config.data, name), getattr(kept.data, name)
        if values is not None and migrated is not None and "taxonomy" in migrated:
            changed[name] = {**values, "taxonomy": migrated["taxonomy"]}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changed))
