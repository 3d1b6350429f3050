"""The one place that puts the rooms together: runs, labelling sessions, pictures, packages.

May import every room but `cli`. What needs torch imports it late, so that a work package opens
without. Public names are taken from `annotator3d` itself (docs/python.md).
"""
