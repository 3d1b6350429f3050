"""`annotator3d import`: scans of other tools become a data set in the layout that training reads.

`datasets.imported` reads the result. May import `extent`, `formats`, `files`, `scan` and
`taxonomy` of this package.
"""
