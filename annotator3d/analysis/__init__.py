"""What came of finished runs: comparisons, costs, the quality of answers, figures and reports.

`runs` reads one run, `summary` puts several into one dictionary, `pooled` adds up folds and seeds,
`costs` computes time and money, `demo` is the experiment of ``annotator3d demo``; `quality`,
`figures` and `report` are folders. May import engine and all below it, not annotation.
"""
