"""A work directory with queries that can be packed, and what tests do with packages."""

from __future__ import annotations

import sqlite3

import numpy as np
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.ledger.ledger import Ledger


def make_asked(folder):
    """A work directory `run` with 20 open queries in 4 scans, a prediction of each, the dataset."""
    root = make_kitti_in(folder)(sequences=("00", "01"), scans=2, points=400)
    poses = (f"1 0 0 {i} 0 1 0 0 0 0 1 0\n" for i in range(2))
    (root / "sequences/00/poses.txt").write_text("".join(poses))
    (root / "sequences/00/calib.txt").write_text("Tr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    for drive in ("00", "01"):
        predicted = folder / "predictions/sequences" / drive / "predictions"
        predicted.mkdir(parents=True)
        for frame in range(2):
            ids = np.random.default_rng(frame).choice([10, 40, 50, 70], 400)
            ids.astype("<u4").tofile(predicted / f"{frame:06d}.label")
    config = tiny_config(root, active={"queries_per_scan": 5})
    select_only(config, folder / "run", predictions=str(folder / "predictions"))
    (folder / "run/config.yaml").write_text(dump_config(config))


def pack(home, name="one", to="ann", *options):
    out = home.parent / f"{name}.a3dpack"
    assert main(["package", "export", str(home), str(out), "--to", to, *options]) == 0
    return out


def opened(path):
    with Ledger.read(path) as ledger:
        settings_ = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    return Ledger.open(path, *settings_)


def ledger_of(home):
    return opened(home / "ledger.sqlite")


def answer(package, label, who="ann", queries=None):
    with opened(package) as ledger:
        for query in ledger.open_queries():
            if queries is None or query.id in queries:
                ledger.answer(query.id, [label] * query.num_points, annotator=who, seconds=1.5)


def state(home):
    with Ledger.read(home / "ledger.sqlite") as ledger:
        return ledger.export_canonical(), len(ledger.events())


def spoiled(package, *statements):
    """Change a package as only a broken program or a bad disk could."""
    db = sqlite3.connect(package)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def held_by(home, who):
    with Ledger.read(home / "ledger.sqlite") as ledger:
        return {query.id for query in ledger.queries() if ledger.leases.holder(query.id) == who}
