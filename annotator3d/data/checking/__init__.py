"""`annotator3d check`: what is wrong with a data set, found before hours of training.

May import `datasets`, `formats` and `taxonomy` of this package; `gate` is what training asks.
"""
