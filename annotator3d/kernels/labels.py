"""What the number of a label means. Imports nothing, so that all of the product can share it."""

IGNORE = 255
"""Train id of a point that no class claims: it counts in no loss, metric or score."""
