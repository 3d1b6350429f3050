"""The data sets: one file each, which registers its class in ``DATASETS``.

To add a data set, add a file here: configs name its class, and `annotator3d check` recognises its
folder by `matches`. May import `formats`, `files`, `scan` and `taxonomy` of this package, and two
of its folders that write data sets (`importing.card`, `simulator`).
"""
