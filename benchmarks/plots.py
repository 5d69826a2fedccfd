"""Plots of the results: a bar for each comparison, and its spread.

Libraries are distinguished by names and by colours that colour-blind readers can tell apart. The
plots are narrow, so that their text can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cases, report, rows
from .rows import Row

# The palette of Okabe and Ito (2008).
COLOURS = {
    cases.TORCH: "#D55E00",
    cases.JAX: "#0072B2",
    cases.SKLEARN: "#E69F00",
    cases.ONNX: "#CC79A7",
    cases.NUMPY: "#56B4E9",
}
_OTHER = "#009E73"
_LOST = "#B00020"
WIDTH_INCHES, DPI, FONT_SIZE = 4.6, 200, 10
_BAR_INCHES, _FRAME_INCHES = 0.25, 1.4


def draw(found: Sequence[Row], folder: Path) -> list[Path]:
    """A PNG for each group that has ratios; returns their paths."""
    import matplotlib

    matplotlib.use("Agg")
    paths = []
    for group in cases.GROUPS:
        inside = [row for row in found if row.group == group and row.ratio is not None]
        if inside:
            paths.append(folder / f"{group}.png")
            _draw_group(inside, report.title(group), paths[-1])
    return paths


def _draw_group(found: Sequence[Row], title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(
        (WIDTH_INCHES, _FRAME_INCHES + _BAR_INCHES * _height(found)), layout="constrained"
    )
    axes = figure.add_subplot()
    axes.set_xscale("log")
    place, last = 0.0, ""
    for row in found:
        if row.case != last:
            place += 1.3
            axes.text(
                0.0, place - 0.05, row.case, transform=axes.get_yaxis_transform(),
                fontsize=FONT_SIZE - 1, fontweight="bold", ha="left", va="center",
                backgroundcolor="white",
            )  # fmt: skip
            last = row.case
        place += 1
        _draw_row(axes, row, place)
    _finish(axes, found, title, place)
    figure.savefig(path, dpi=DPI)


def _height(found: Sequence[Row]) -> float:
    return len(found) + 1.3 * len({row.case for row in found})


def _draw_row(axes: Any, row: Row, place: float) -> None:
    """Bar from 1 to the median, line from lowest to highest, thicker between the quartiles."""
    assert row.ratio is not None
    low, lower, median, upper, high = row.ratio
    axes.barh(place, median - 1, left=1, height=0.72, color=COLOURS.get(row.peer, _OTHER))
    axes.plot([low, high], [place, place], color="black", linewidth=1)
    axes.plot([lower, upper], [place, place], color="black", linewidth=3.5)
    lost = rows.is_lost(row)
    axes.annotate(
        f"{row.peer} {report.number(median)}", (1.0, place), xycoords=("axes fraction", "data"),
        xytext=(4, 0), textcoords="offset points", fontsize=FONT_SIZE - 1, va="center",
        annotation_clip=False, fontweight="bold" if lost else "normal",
        color=_LOST if lost else "black",
    )  # fmt: skip


def _finish(axes: Any, found: Sequence[Row], title: str, last: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ends = [end for row in found if row.ratio for end in (row.ratio.low, row.ratio.high)]
    left, right = min(0.8, *ends) / 1.15, max(1.25, *ends) * 1.15
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right / left < 1000 else (1,)))
    axes.set_ylim(last + 0.8, 0.4)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(
        "times better than the other side (log scale)\n"
        "thin line: lowest to highest; thick line: quartiles",
        fontsize=FONT_SIZE - 1,
    )
    axes.tick_params(axis="x", labelsize=FONT_SIZE - 1)
    axes.figure.suptitle(title, x=0.02, ha="left", fontsize=FONT_SIZE + 1)
