"""``python -m annotator3d.cli``: the same as ``python -m annotator3d``."""

import sys

from annotator3d.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
