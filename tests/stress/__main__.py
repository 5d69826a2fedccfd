"""The command: runs every trial and prints figures; the exit code is 1 if any of them failed."""

from __future__ import annotations

import argparse
import sys
import time

from . import TRIALS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument(
        "--part", type=float, default=1.0, help="part of the full counts (default 1)"
    )
    parser.add_argument("--only", choices=sorted(TRIALS), help="one trial")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = False
    for name, (trial, count) in TRIALS.items():
        if options.only in (None, name):
            started = time.perf_counter()
            outcome = trial(max(1, round(count * options.part)), options.seed)
            seconds = time.perf_counter() - started
            failed |= bool(outcome.failures)
            print(f"{name:>12}  {outcome}  ({seconds:.0f} s)", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
