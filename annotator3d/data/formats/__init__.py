"""Files of scans and labels: SemanticKITTI's and its kin (`kitti`), point clouds of other tools.

A format of point clouds is one file with its reader, named by its ending in `registry.FORMATS`. The
libraries behind them are the extra `formats` and are imported when a file is read. May import
`files` and `scan` of this package.
"""
