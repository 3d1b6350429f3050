"""Processes that work for another one end with it, however it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

PARENTS = {
    "of a pool": """
        from annotator3d.data.processes import process_pool
        pool = process_pool(2)
        pool.submit(int).result()
    """,
    "of a loader that has begun": """
        loader = training_loader(Scans(), 1, 0, 2, torch.device("cpu"))
        iter(loader)
    """,
    # torch's own watch compares the parent with the one at the time when it begins to watch
    "of a loader that is starting": """
        loader, run = training_loader(Scans(), 1, 0, 2, torch.device("cpu")), os.getpid()
        def wait_for_the_kill(worker, begin=loader.worker_init_fn):
            while os.getppid() == run:
                pass
            begin(worker)
        loader.worker_init_fn = wait_for_the_kill
        iter(loader)
    """,
}
START = """
import os, signal
if __name__ == "__main__":
    import torch
    from annotator3d.engine.training.loading import training_loader
    class Scans:
        balance = answers = None
        def __len__(self): return 4
        def request(self, index): return index
        def __getitem__(self, index): return index
"""


@pytest.mark.parametrize("parent", PARENTS)
def test_a_process_ends_with_the_parent_that_is_killed(tmp_path, parent):
    script = tmp_path / "parent.py"
    script.write_text(
        START + PARENTS[parent].replace("\n    ", "\n") + "    os.kill(os.getpid(), 9)\n"
    )
    # The pipe ends when the last process that holds it has ended.
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=100)
    assert done.returncode == -9, done.stderr.decode()
