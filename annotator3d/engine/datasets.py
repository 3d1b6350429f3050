"""The datasets of a run: what is trained on, asked about and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass

from annotator3d.engine.build import build_dataset
from annotator3d.engine.config import RunConfig
from annotator3d.engine.screen import Screen


@dataclass
class Datasets:
    """What a setting trains on; `pool` may be asked about."""

    val: object
    pool: object | None
    source: object | None

    @property
    def taxonomy(self):
        return self.val.taxonomy


def open_datasets(config: RunConfig, data_root: str | None, screen: Screen) -> Datasets:
    """Open what `config.setting` needs.

    Raises:
        ValueError: a dataset is missing, or two of them have different classes.
    """
    data, setting = config.data, config.setting
    opened = {"data.val": build_dataset(data.val, "data.val", data_root, screen.progress)}
    if setting != "source_only":
        pool = data.train
        if pool is not None and config.is_active and config.active.oracle != "truth":
            pool = {"labels": "optional", **pool}
        opened["data.train"] = build_dataset(pool, "data.train", data_root, screen.progress)
    if setting in ("source_only", "ada"):
        opened["data.source"] = build_dataset(data.source, "data.source", progress=screen.progress)
    names = opened["data.val"].taxonomy.names
    for key, dataset in opened.items():
        if dataset.taxonomy.names != names:
            raise ValueError(
                f"{key} has other classes than data.val: {dataset.taxonomy.names} against {names}"
            )
    return Datasets(opened["data.val"], opened.get("data.train"), opened.get("data.source"))
