"""Training of one network: mmengine's runner as we use it, with exact resume on any rank count.

Loop and runner, loaders, optimiser and schedule, averaged weights, checkpoints, logs, signals, and
batch-norm statistics before round 1. Knows nothing of rounds. May import `annotator3d.data`,
`models`, `ledger` (to log what was spent) and, of the engine, `config` and `distributed`.
"""
