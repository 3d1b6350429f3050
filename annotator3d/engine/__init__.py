"""Runs: train, select, evaluate, export and migrate, each from a config and a run folder.

`run.train` prepares a `RunContext` (`preparation`), makes the runner of it (`assembly`) and trains.
`workdir` knows the files of a run folder and `record` writes what a run tells about itself.
`config/` reads configs, `training/` trains epochs, `rounds/` selects the voxels of a round. May
import `annotator3d.kernels`, `data`, `models`, `ledger` and `active`; never `annotation` or above.
"""
