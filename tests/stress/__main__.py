"""The command: runs every trial and prints figures; the exit code is 1 if any of them failed."""

from __future__ import annotations

import argparse
import sys
import time

from . import TRIALS, fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument(
        "--part", type=float, default=1.0, help="part of the full counts (default 1)"
    )
    parser.add_argument("--only", choices=sorted(TRIALS), help="one trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="one case of the fuzzer, with its steps")
    parser.add_argument("--plant", choices=sorted(fuzz.PLANTS), help="a fault for the fuzzer")
    options = parser.parse_args()
    if options.case is not None:
        outcome = fuzz.show(options.case, options.plant)
        print(outcome)
        return int(bool(outcome.failures))
    failed = False
    for name, (trial, count) in TRIALS.items():
        if options.only in (None, name):
            started = time.perf_counter()
            count = max(1, round(count * options.part))
            if name == "fuzz":
                outcome = fuzz.run(count, options.seed, options.plant)
            else:
                outcome = trial(count, options.seed)
            seconds = time.perf_counter() - started
            failed |= bool(outcome.failures)
            print(f"{name:>12}  {outcome}  ({seconds:.0f} s)", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
