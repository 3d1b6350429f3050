"""Scans, file formats, class maps and datasets. Importing this package imports nothing heavy."""
