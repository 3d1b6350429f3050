#!/usr/bin/env python3
"""`annotator3d train` as a file, for launchers that want one.

    torchrun --nproc-per-node 4 tools/train.py CONFIG [options of annotator3d train]

docs/distributed.md says more; tools/dist_train.sh and tools/slurm_train.sh call this.
"""

import sys

from annotator3d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
