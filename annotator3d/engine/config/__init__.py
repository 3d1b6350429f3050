"""Settings of a run: every key with its rule, and how a config file becomes them.

`schema` holds the keys, `values` reads nested values into it, `checks` holds the rules that need
more than one key or a registry, and `load` finds, reads and writes files (with `bases`, `overrides`
and `custom_imports`). May import `errors`, `registry`, `data` and `ledger.database`, which tells a
work package from a config, but nothing else of `annotator3d.engine`.
"""
