"""One file for each command, found by its place here; `annotator3d.cli.command` says how."""
