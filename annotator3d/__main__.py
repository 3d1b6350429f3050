"""``python -m annotator3d``: the command line, where the ``annotator3d`` command is not on PATH."""

from annotator3d.cli.main import entry

if __name__ == "__main__":
    entry()
