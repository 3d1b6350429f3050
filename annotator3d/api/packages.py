"""Work packages: files that carry queries with their scans to a person and the answers home."""

from __future__ import annotations

from pathlib import Path

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.annotation.packages.export import ExportOptions, PackageResult, write_package
from annotator3d.annotation.packages.package import TAXONOMY_FILE, PackageSource
from annotator3d.api.scans import scan_source
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.data.taxonomy import Taxonomy, dump_taxonomy, parse_taxonomy
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter


def export_package(
    work_dir: WorkDir,
    out: Path,
    options: ExportOptions,
    *,
    config: str | None = None,
    data_root: str | None = None,
    reporter: Reporter,
) -> PackageResult:
    """A work package of a work directory's queries; see `packages.export.write_package`."""
    with work_dir.ledger() as ledger:
        size = ledger.voxel_size
    source = scan_source(work_dir, config, data_root, reporter)
    taxonomy = source.dataset.taxonomy
    with Ledger.open(work_dir.ledger_path, taxonomy.names, taxonomy.digest(), size) as ledger:
        return write_package(
            ledger,
            out,
            source,
            dump_taxonomy(taxonomy),
            options,
            predictions=StoredPredictions(work_dir.rounds, ledger.to_current),
            progress=lambda done, total: reporter.progress("packing scans", done, total),
        )


def taxonomy_of(package: PackageSource) -> Taxonomy:
    """The class list that a package carries."""
    where = f"{TAXONOMY_FILE} in {package.path}"
    return parse_taxonomy(read_yaml(where, package.file(TAXONOMY_FILE)), TAXONOMY_FILE, where)


def refuse_options(package: Path, config: str | None, data_root: str | None) -> None:
    """Raise ConfigError for an option that does not apply to a work package."""
    for option, value in (("--config", config), ("--data-root", data_root)):
        if value is not None:
            raise ConfigError(
                f"{option} {value}: {package} is a work package, which carries its own scans and "
                "class list; leave the option out"
            )
