"""Scans and where they come from: one scan, batches, class maps, files and data sets.

`datasets/` knows the data sets, `formats/` the files; `checking/`, `importing/` and `exporting/`
work on whole data sets, `simulator/` makes one. May import `kernels`. Importing this package
imports nothing heavy; `batch` alone imports torch.
"""
