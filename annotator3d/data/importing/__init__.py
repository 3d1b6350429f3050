"""`annotator3d import`: scans of other tools become a data set in the layout that training reads.

May import `formats`, `files` and `taxonomy` of this package; `datasets.imported` reads the result.
"""
