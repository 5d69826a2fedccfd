"""The summary plot: how many times faster a training step is, for every network and library.

`python -m benchmarks.summary` regenerates all plots and tables from the results on disk, without
measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cases, machine, plots, report
from .rows import Row

NAME = "speed.png"
_MARKS = {cases.TORCH: "o", cases.JAX: "s", cases.SKLEARN: "D"}


def draw(found: Sequence[Row], folder: Path) -> Path | None:
    """A point for each training case and peer, with a line from its lowest to its highest.

    Nothing is drawn if no training was measured.
    """
    from matplotlib.figure import Figure

    inside = [row for row in found if row.group == "training" and row.ratio is not None]
    if not inside:
        return None
    names = list(dict.fromkeys(row.case for row in inside))
    figure = Figure((plots.WIDTH_INCHES, 1.3 + 0.36 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for peer, mark in _MARKS.items():
        _draw_peer(axes, [row for row in inside if row.peer == peer], peer, mark, names)
    axes.axvline(1, color="black", linewidth=1.2)
    axes.text(1, -0.75, "equal", fontsize=plots.FONT_SIZE - 1, ha="center", va="bottom")
    _finish(axes, names)
    figure.legend(
        loc="outside upper right", ncols=3, frameon=False, fontsize=plots.FONT_SIZE,
        columnspacing=1, handletextpad=0.2,
    )  # fmt: skip
    path = folder / NAME
    figure.savefig(path, dpi=plots.DPI)
    return path


def _draw_peer(axes: Any, found: Sequence[Row], peer: str, mark: str, names: list[str]) -> None:
    colour, label = plots.COLOURS[peer], peer
    for row in found:
        assert row.ratio is not None
        place = names.index(row.case)
        ends = [row.ratio.low, row.ratio.high]
        axes.plot(ends, [place, place], color=colour, linewidth=1.8)
        axes.plot(row.ratio.median, place, mark, color=colour, markersize=7, label=label)
        label = ""  # one entry of the legend is enough


def _finish(axes: Any, names: list[str]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.xaxis.minorticks_off()
    axes.set_yticks(
        range(len(names)),
        [name.replace(", ", "\n") for name in names],
        fontsize=plots.FONT_SIZE - 1,
    )
    axes.set_ylim(len(names) - 0.4, -0.8)
    axes.tick_params(length=0)
    axes.grid(axis="x", alpha=0.35)
    axes.grid(axis="y", alpha=0.15)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(
        "how many times faster fastmlp's training step is\n(log scale; line: lowest to highest)",
        fontsize=plots.FONT_SIZE - 1,
    )


def _ticks() -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator([1, 2, 5, 10, 20, 50, 100, 300])


if __name__ == "__main__":
    folder = machine.ROOT / machine.RESULTS_FOLDER
    results = report.Results(folder / "results.json")
    results.write()
    found = results.rows(results.kinds()[0])
    print(*plots.draw(found, folder), draw(found, folder), sep="\n")
