"""What came of it: reports, comparisons, quality and figures of runs that left a work directory.

`runs` reads one run, `summary` puts several into one dictionary, `pooled` adds up folds and seeds,
`costs` tells time and money, `demo` is the experiment of ``annotator3d demo``. Below are `quality`,
`figures` and `report`. May import engine and all below it, not annotation.
"""
