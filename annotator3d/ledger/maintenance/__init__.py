"""Work on whole ledger files: backups, checks, texts and back, other class lists.

It uses the ledger's own modules and `data`; neither is used the other way round.
"""
