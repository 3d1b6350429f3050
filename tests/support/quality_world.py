"""A run that two people have labelled, for the tests of quality."""

from __future__ import annotations

import numpy as np

from annotator3d.api.labelling import open_labelling
from annotator3d.ledger.ledger import Ledger

CONFUSION = {"ann": 0.0, "bob": 0.5}  # how often somebody takes a class for the next one


def opened(work_dir):
    """The ledger of a run, for writing."""
    return Ledger.open_existing(work_dir / "ledger.sqlite")


def label_all(work_dir, person, truth, seed=0):
    """Answer what waits for a person, each voxel by its truth, or wrongly by a seeded confusion."""
    session = open_labelling(work_dir, annotator=person).session
    while session.current is not None:
        query, view = session.current, session.view
        labels = truth.read(truth.index(query.scan)).labels[view.rows]
        random = np.random.default_rng([seed, query.id])
        if random.random() < CONFUSION[person]:
            labels = np.where(labels == 255, 255, (labels + 1) % 19)
        for label in np.unique(labels)[:-1]:
            session.paint(labels == label)
            session.assign(int(label))
        if session.current is query:
            session.assign(int(labels.max()))
    session.close()
