"""Time the chooser of a round over the candidates of a whole data set.

    python tools/bench_chooser.py [--scans 19130] [--candidates 100]

Drives of 1,000 scans a metre apart, each with candidates up to 50 m around the sensor: with equal
shares for 20 classes, with a spacing that is easily kept, and with one that uses up all candidates.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from annotator3d.active.chooser import Candidates, Limits, choose

DRIVE = 1000  # scans
CLASSES = 20


def make_candidates(scans: int, each: int, strata: int, seed: int = 0) -> Candidates:
    """Of so many scans this many each; a part of them without a stratum, the others in one."""
    rng, n = np.random.default_rng(seed), scans * each
    scan = np.repeat(np.arange(scans, dtype=np.int32), each)
    centre = rng.uniform((-50, -50, -2), (50, 50, 4), (n, 3))
    return Candidates(
        scan=scan,
        stratum=np.tile(np.arange(each, dtype=np.int32) % (strata + 1) - 1, scans),
        rank=np.tile(np.arange(each, dtype=np.int32) // (strata + 1), scans),
        utility=rng.random(n),
        cell=np.floor(centre / 0.25).astype(np.int32),
        num_points=np.ones(n, np.int32),
        place=centre + np.column_stack([scan % DRIVE, np.zeros((n, 2))]),
        moves=np.zeros(n, bool),
    )


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns seconds by case, and the memory of the process in GB."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scans", type=int, default=19_130, help="SemanticKITTI's training scans")
    parser.add_argument("--candidates", type=int, default=100, help="of each scan")
    args = parser.parse_args(arguments)
    ids = [f"{i // DRIVE:02d}/{i % DRIVE:06d}" for i in range(args.scans)]
    worlds = [scan.split("/")[0] for scan in ids]
    quotas = [(c, args.scans // CLASSES) for c in range(CLASSES)]
    cases = {
        "quotas of 20 classes": (CLASSES, Limits(args.scans, 5, None, quotas)),
        "spacing 5 m": (0, Limits(args.scans, 5, 5.0)),
        "spacing 5 m, all used up": (0, Limits(args.candidates * args.scans, args.scans, 5.0)),
    }
    report = {}
    print(f"{args.scans * args.candidates:,} candidates of {args.scans:,} scans")
    for name, (strata, limits) in cases.items():
        candidates = make_candidates(args.scans, args.candidates, strata)
        start = time.perf_counter()
        chosen = choose(candidates, ids, worlds, limits, 0, 1)
        report[name] = time.perf_counter() - start
        print(f"{name:30} {report[name]:7.2f} s  {len(chosen):,} chosen")
    report["memory (GB)"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{'memory':30} {report['memory (GB)']:7.2f} GB")
    return report


if __name__ == "__main__":
    main()
