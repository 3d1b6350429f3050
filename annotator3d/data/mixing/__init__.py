"""Recipes that make one training scan of two, a file each.

A file here that registers a class is all that a new recipe of the package needs. A recipe says
which points of which scan the new one has; `recipe.join` takes them together with their labels.
"""
