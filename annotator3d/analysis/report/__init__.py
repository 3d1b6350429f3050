"""Reports as one HTML file: `experiment` compares runs, `run` shows one run.

`blocks` holds what a page is made of, as plain text; only the template in `templates/` writes HTML,
and it escapes everything (jinja2, autoescape). May import what analysis may.
"""
