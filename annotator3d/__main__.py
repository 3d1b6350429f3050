"""``python -m annotator3d``: the command line, where the ``annotator3d`` command is not on PATH."""

import sys

from annotator3d.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
