"""The method, as the paper tells it: which voxels to ask about, who answers, what a round may cost.

Strategies give utilities (`query_strategy`, `strategies`), the selector picks voxels (`selector`),
the budget caps a round (`budget`, `timing`), an oracle answers (`oracle`, `noisy_oracle`). To add a
strategy or an oracle, add a file here that registers it: configs find it by its registered name.
May import kernels, data and ledger. This file imports nothing, so that `stored_predictions` and
`timing` work without torch.
"""
