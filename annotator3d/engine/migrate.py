"""Migrate a run folder to another class list: the ledger first, then what depends on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from annotator3d.data.files import atomic_write
from annotator3d.data.taxonomy import Taxonomy, load_taxonomy, taxonomy_path
from annotator3d.engine.class_list import taxonomy_of
from annotator3d.engine.config.load import dump_config, make_plain_config
from annotator3d.engine.config.overrides import override
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.interrupted_migration import (
    forget_migration,
    is_interrupted,
    kept_classes,
    note_migration,
    refuse_interrupted,
)
from annotator3d.engine.migrated_outputs import carry_over_outputs
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.migrate import Migration, migrate, plan, targets_by_raw_id


@dataclass(frozen=True)
class MigrationRequest:
    """What `annotator3d taxonomy migrate` was told."""

    new: str  # name or path of the new taxonomy
    old: str | None = None  # of the old one, where the run's config does not lead to it
    become: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    removed: Sequence[str] = ()
    settings: Sequence[str] = ()  # of the run from now on, such as another source checkpoint


@dataclass(frozen=True)
class MigrationResult:
    """What a migration does, or has done."""

    plan: Migration | None  # None: the ledger had the new class list already
    version: int  # of the class list afterwards
    set_aside: tuple[str, ...]  # names in the work directory of what was made in the old classes
    config: Path | None  # the run's config with the new class list
    data_root: str | None = None  # where the run reads its scans, if not where the config says


def preview(work_dir: WorkDir, request: MigrationRequest) -> Migration:
    """What `migrate_run` would do; nothing is written.

    Raises as `ledger.maintenance.migrate.plan`, and ConfigError where the run could not go on
    afterwards.
    """
    new = load_taxonomy(request.new)
    with work_dir.ledger() as ledger:
        found = _plan(ledger, work_dir, new, request)
    _config_after(work_dir, request, found)
    return found


def migrate_run(work_dir: WorkDir, request: MigrationRequest) -> MigrationResult:
    """Write the new class list into the ledger and make the run folder ready to go on.

    Checkpoints and metrics are set aside by renaming, unless each class has kept its number
    (`carry_over_outputs`): then the next ``train --resume`` trains a new network on all answers.
    After a kill on the way the same call completes the migration.

    Raises as `preview`, and ValueError while a training or a viewer holds what has to change.
    """
    new = load_taxonomy(request.new)
    with work_dir.ledger() as ledger:
        version = ledger.taxonomy_version
        done = (ledger.taxonomy_names, ledger.taxonomy_digest) == (tuple(new.names), new.digest())
    if done and (version == 1 or _is_ready(work_dir, version)):
        raise ValueError(
            f"{work_dir.ledger_path} has this class list already; there is nothing to migrate"
        )
    keeps_config = work_dir.config_path.is_file()
    with work_dir.lock() if keeps_config else nullcontext():
        found = None
        if not done:
            with work_dir.ledger(write=True) as ledger:
                found = _plan(ledger, work_dir, new, request)
                config = _config_after(work_dir, request, found)
                _copy(taxonomy_path(request.new), kept_classes(work_dir, found.version + 1))
                note_migration(work_dir, found.version + 1, request.settings)
                version = migrate(ledger, found)
        else:
            config = _config_after(work_dir, request, None, version)
        aside = carry_over_outputs(work_dir, version)
        if config is not None:
            with atomic_write(work_dir.config_path) as file:
                file.write(dump_config(config).encode())
        forget_migration(work_dir)
    if config is None:
        return MigrationResult(found, version, aside, None)
    moved = work_dir.moved_data_root(config)
    return MigrationResult(found, version, aside, work_dir.config_path, moved)


def _is_ready(work_dir: WorkDir, version: int) -> bool:
    """Whether a migration to this version is complete."""
    if is_interrupted(work_dir, version):
        return False
    place = str(kept_classes(work_dir, version).resolve())
    return (
        not work_dir.config_path.is_file() or work_dir.config().data.train.get("taxonomy") == place
    )


def _plan(ledger: Ledger, work_dir: WorkDir, new: Taxonomy, request: MigrationRequest) -> Migration:
    refuse_interrupted(work_dir, ledger.taxonomy_version)
    old, by_raw_id = _old_taxonomy(work_dir, request, ledger.taxonomy_digest), None
    if old is not None:
        by_raw_id = targets_by_raw_id(old.learning_map, new.learning_map, old.num_classes)
    return plan(
        ledger,
        new.names,
        new.digest(),
        by_raw_id=by_raw_id,
        become=request.become,
        split=request.split,
        removed=request.removed,
    )


def _old_taxonomy(work_dir: WorkDir, request: MigrationRequest, digest: str) -> Taxonomy | None:
    """The class list that the ledger has now, with its raw ids; None if it cannot be found."""
    if request.old is not None:
        old = load_taxonomy(request.old)
        if old.digest() != digest:
            raise ValueError(
                f"--old {request.old} is not the class list of the ledger (digest {old.digest()} "
                f"against {digest})"
            )
        return old
    if not work_dir.config_path.is_file():
        return None
    old = taxonomy_of(work_dir.config().data.train, work_dir.data_root("train"))
    return old if old is not None and old.digest() == digest else None


def _config_after(
    work_dir: WorkDir, request: MigrationRequest, found: Migration | None, version: int = 0
) -> RunConfig | None:
    """The run's config with the new class list; None where the work directory keeps no config."""
    if not work_dir.config_path.is_file():
        return None
    config = work_dir.config()
    values = dataclasses.asdict(config)
    place = str(kept_classes(work_dir, version or found.version + 1).resolve())
    shared = _read_alike(values["data"])
    for name, table in values["data"].items():
        if name in ("train", "val") or (name == "source" and shared):
            if isinstance(table, dict):
                table["taxonomy"] = place
    override(values, request.settings)
    given = {setting.partition("=")[0].strip() for setting in request.settings}
    _refuse_unfit(config, found, shared, given)
    return make_plain_config(values)


def _read_alike(data: dict) -> bool:
    """Whether the source scans have the raw ids and the class list of the target's."""
    target, source = data.get("train"), data.get("source")
    if not (isinstance(target, dict) and isinstance(source, dict)):
        return False
    return all(target.get(key) == source.get(key) for key in ("type", "taxonomy"))


def _refuse_unfit(
    config: RunConfig, found: Migration | None, shared: bool, given: set[str]
) -> None:
    if config.setting == "ada" and not shared and "data.source.taxonomy" not in given:
        raise ConfigError(
            "the source scans are of another kind than the target's: say how their raw ids map to "
            "the new classes, with --set data.source.taxonomy=FILE"
        )
    moved = found is not None and found.table[: len(found.fates)] != bytes(range(len(found.names)))
    if config.setting in ("asfda", "ada") and moved and "init" not in given:
        raise ConfigError(
            f"init: the source checkpoint {config.init} knows the old classes; train one with the "
            "new class list and name it with --set init=CHECKPOINT"
        )


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as file:
        file.write(source.read_bytes())
