"""Reports, figures and comparisons between finished runs.

Import the module that you need; none of them draws or loads anything when it is imported:

- `runs`: read the work directory of one run
- `summary`: several runs as one dictionary and JSON file
- `figures`: budget curves, class bars and the bird's-eye picture (matplotlib, Agg)
- `report`: a self-contained report.html
- `pooled`: runs over folds and seeds, pooled; `tables`: that as Markdown
"""
