"""The method, as the paper tells it: which voxels to ask about, who answers, what a round may cost.

Strategies give utilities (`query_strategy`, `strategies`), the selector picks (`selector`), the
budget caps a round (`budget`, `timing`), an oracle answers (`oracle`, `noisy_oracle`). A file that
is dropped here and registers a strategy or an oracle is found by its name. May import kernels, data
and ledger. This file imports nothing, so that `stored_predictions` and `timing` need no torch.
"""
