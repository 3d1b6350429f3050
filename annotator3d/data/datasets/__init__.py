"""The data sets: one file each, which registers its class in ``DATASETS``.

A file dropped here is found: configs name its class, and `annotator3d check` recognises a folder by
its `matches`. May import `formats`, `files`, `scan` and `taxonomy` of this package, and the two of
its rooms that write data sets (`importing.card`, `simulator`).
"""
