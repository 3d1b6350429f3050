"""Active learning core: what to ask, the record of what was asked and answered, and its cost.

Import from the modules; this package imports nothing, so that the ledger needs no torch.
"""
