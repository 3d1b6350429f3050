"""Settings of a run: every key with its rule, and how a config file becomes them.

`schema` holds the keys, `values` reads nested values into it, `checks` holds the rules that need
more than one key or a registry, and `load` finds and reads files (with `bases`, `overrides` and
`custom_imports`). May import `annotator3d.data`, `models`, `ledger` and `active`, each one late
and only to look up what is registered there; nothing else of `annotator3d.engine`.
"""
