"""Runs: train, select, evaluate, export and migrate, each from a config and a run folder.

`run.train` prepares a `RunContext` (`preparation`), builds the runner (`assembly`) and trains.
`workdir` knows the files of a run folder; `record` writes the config, run info and metrics.
`config/` reads configs, `training/` trains epochs, `rounds/` selects the voxels of a round. May
import `annotator3d.kernels`, `data`, `models`, `ledger` and `active`; never `annotation` or above.
"""
