"""Files of scans and labels: SemanticKITTI's and its kin (`kitti`), point clouds of other tools.

A format of point clouds is one file with its reader, listed by its ending in `registry.FORMATS`.
The libraries that they need are the extra `formats`, imported when a file is read. May import
`extent`, `files` and `scan` of this package.
"""
