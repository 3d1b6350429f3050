"""`annotator3d compare`: query strategies beside each other, on paired seeds.

`plan` turns an experiment file into runs, `queue` trains them, `archive` keeps what they left,
`results` reads it, and the other files compute and show the comparison. Everything that the report
says is computed from the archive. May import what analysis may.
"""
