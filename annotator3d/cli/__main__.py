"""``python -m annotator3d.cli``: the same as ``python -m annotator3d``."""

from annotator3d.cli.main import entry

if __name__ == "__main__":
    entry()
