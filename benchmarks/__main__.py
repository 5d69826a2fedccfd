"""The command: `python -m benchmarks` measures everything, `--quick` only checks equality.

Results are merged into the files of the output folder, so that a run of some cases keeps the rest,
and what other kinds of machines measured. Pictures show the kind that has measured most.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import data, machine, report, rows, sweep
from .cases import CASES, Case, Training
from .report import Results
from .rows import Row
from .run import matching, run_case
from .settings import Settings

BUSY = 0.5  # load of other processes above which figures are distorted


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument(
        "--quick", action="store_true", help="check equality on little data, time nothing"
    )
    made.add_argument("--only", default="", metavar="PATTERN", help="cases whose key matches")
    made.add_argument("--list", action="store_true", help="print the keys of the cases and stop")
    made.add_argument(
        "--data-home", type=Path, metavar="DIR", help="MNIST's four files (or FASTMLP_MNIST)"
    )
    made.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where results go (default: {machine.RESULTS_FOLDER}; nowhere if --quick)",
    )
    made.add_argument(
        "--sweep", type=int, default=0, metavar="N", help="measure N shapes drawn at random instead"
    )
    made.add_argument("--seed", type=int, default=0, help="of the shapes that --sweep draws")
    made.add_argument(
        "--busy", action="store_true", help="training cases beside a busy process, ours alone"
    )
    made.add_argument("--rounds", type=int, default=Settings.rounds, help="timings of each side")
    return made


def settings_from(options: argparse.Namespace) -> Settings:
    """Settings of a run; exits where the data folder is not what it should be."""
    home = options.data_home
    if home is None and os.environ.get("FASTMLP_MNIST"):
        home = Path(os.environ["FASTMLP_MNIST"])
    if home is not None and not data.has_mnist(home):
        raise SystemExit(f"benchmarks: no MNIST in the data folder, which needs {data.MNIST_FILES}")
    if options.rounds < 1:
        raise SystemExit("benchmarks: --rounds must be 1 or more")
    if options.sweep < 0 or (options.sweep and options.busy):
        raise SystemExit("benchmarks: --sweep takes a number of shapes, and no --busy")
    return Settings(quick=options.quick, data_home=home, rounds=options.rounds)


def results_path(options: argparse.Namespace) -> Path | None:
    """The JSON file; quick runs and sweeps write separate ones, and only if a folder is given."""
    if options.quick or options.sweep or options.busy:
        name = "quick" if options.quick else f"sweep-{options.seed}" if options.sweep else "busy"
        return options.output / f"{name}.json" if options.output else None
    return (options.output or machine.ROOT / machine.RESULTS_FOLDER) / "results.json"


def listed(options: argparse.Namespace) -> Sequence[Case]:
    """All cases that a run with these options can measure."""
    return list(sweep.drawn(options.sweep, options.seed)) if options.sweep else CASES


def cases_of(options: argparse.Namespace) -> list[Case]:
    """The cases that the options choose."""
    found = matching(options.only, listed(options))
    return [case for case in found if isinstance(case, Training)] if options.busy else found


def run(options: argparse.Namespace) -> list[Row]:
    """Run the chosen cases, saving after each so that an interrupted run is not lost."""
    settings, path = settings_from(options), results_path(options)
    results = Results(path, listed(options)) if path else None
    load, all_rows = machine.load(), list[Row]()
    if not settings.quick and load is not None and load > BUSY:
        print(f"warning: this machine is busy (load {load}), so timings will not be right")
    for case in cases_of(options):
        found = []
        for row in run_case(case, settings, busy=options.busy):
            print(report.line(row), flush=True)
            found.append(row)
        all_rows += found
        if results is not None:
            results.merge(found)
            results.write()
    if options.sweep:
        print(*sweep.summaries(all_rows), sep="\n")
    elif results is not None and path is not None and not options.busy:
        _draw(results, path.parent)
    return all_rows


def _draw(results: Results, folder: Path) -> None:
    if not machine.is_installed("matplotlib"):
        print("no pictures: matplotlib is not installed")
        return
    from . import plots, summary

    found = results.rows(results.kinds()[0])
    plots.draw(found, folder)
    summary.draw(found, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if something was not equal or failed; missed targets alone do not fail a run."""
    options = parser().parse_args(arguments)
    cases = cases_of(options)
    if not cases:
        print(f"benchmarks: no case matches {options.only!r}; see --list", file=sys.stderr)
        return 2
    if options.list:
        print(*(case.key for case in cases), sep="\n")
        return 0
    found = run(options)
    counts = {status: sum(row.status == status for row in found) for status in rows.STATUSES}
    print(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    return int(any(row.status in rows.BAD for row in found))


if __name__ == "__main__":
    sys.exit(main())
