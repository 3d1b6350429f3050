"""How good the answers are: agreement, corrections, answers that a network contradicts.

`report` makes a section of a page of them, with `analysis.report.blocks`. May import what analysis
may.
"""
