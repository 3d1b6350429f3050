"""Work on whole ledger files: backup, verification, text export and import, migration.

May import the ledger's other modules and `data`; neither imports this folder.
"""
