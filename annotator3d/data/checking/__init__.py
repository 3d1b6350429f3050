"""`annotator3d check`: what is wrong with a data set, found before hours of training.

Training asks `gate` before it begins. May import `datasets`, `extent`, `files`, `formats` and
`scan` of this package.
"""
