"""Imported last by a process that others are forked from: its objects are not looked at again.

A fork shares the memory of that process page by page, until one of them writes to it. The search
for unused objects writes to every object that it looks at: it would copy all modules in every fork,
which takes a quarter of a second.
"""

import gc

gc.collect()
gc.freeze()
