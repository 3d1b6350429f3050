"""Rounds of selection: before an epoch, within its steps (online), or without training.

`select_round` selects over a pool and writes the ledger, `hook` and `online` do so during
training, `select_only` does it for networks from elsewhere. May import all of the engine below
`run` and `assembly`, and `annotator3d.active`, `data`, `kernels` and `ledger`.
"""
