"""The one place that puts the rooms together: runs, labelling sessions, pictures, packages.

May import every room but `cli`. Torch is imported late, so that a work package opens without it.
Users import the public names from `annotator3d` itself (docs/python.md).
"""
