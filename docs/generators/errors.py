"""The table of every message, from the rows that `tests/test_errors.py` runs.

Each row there is a mistake and the exact sentence that follows, so what stands here is what users
see.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import fastmlp
from fastmlp.optim.schedules import SCHEDULES
from tests.test_errors import ROWS

INTRODUCTION = """\
# Error messages

Every refusal is an `InputError`, which is a `ValueError`, in one form: *where: expected this, got
that; do so*. What is of a wrong type is also a `TypeError`, what is wrong with a file also an
`OSError`. A refused call changes nothing, and no message shows the contents of data.

Below is each of them as the tests provoke it ({count} mistakes). Loaders of data sets and pictures
refuse in the same form; their messages stand in `tests/datasets/test_datasets.py` and
`tests/test_plotting.py`.
"""
_ELSEWHERE = "Options by name, and the command line"


def page() -> str:
    """The page, in Markdown with tables in HTML, whose cells may break lines."""
    order = ["Network.fit", *map(_title, fastmlp._MODULES), "Schedules", _ELSEWHERE]
    sections: dict[str, list[str]] = {title: [] for title in order}
    for section, cells in _cells():
        sections[section].append(_line("td", cells))
    head = _line("th", ("mistake", "message", "what to do"))
    parts = [INTRODUCTION.format(count=len(ROWS))]
    for title, lines in sections.items():
        if not lines:
            continue
        parts.append(
            f"## {title}\n\n"
            '<div class="pst-scrollable-table-container"><table class="table errors">\n'
            f"<thead>{head}</thead>\n<tbody>\n{''.join(lines)}</tbody></table></div>\n"
        )
    return "\n".join(parts)


def _cells() -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Section and cells of each message; mistakes that get the same one share it."""
    mistakes: dict[str, list[str]] = {}
    for row in ROWS:
        mistakes.setdefault(row.text, []).append(row.name)
    for text, names in mistakes.items():
        # No "got" holds a semicolon, so the first one after it starts the advice.
        front, got, rest = text.partition(", got ")
        value, _, advice = rest.partition("; ")
        message = f"{front}{got}{value}".replace("{folder}/", "")
        cells = "; ".join(names), message, advice
        yield _section(text), tuple(html.escape(cell) for cell in cells)


def _section(text: str) -> str:
    """By the function or class at the start of a message."""
    name = re.match(r"[\w.]*", text).group()
    if name == "Network.fit":
        return "Network.fit"
    name = name.partition(".")[0]
    if name in {cls.__name__ for cls in SCHEDULES}:
        return "Schedules"
    module = fastmlp._ORIGIN.get(name)
    return _ELSEWHERE if module is None else _title(module)


def _title(module: str) -> str:
    name = {"nn": "layers"}.get(module, module.rpartition(".")[2])
    return name.replace("_", " ").capitalize().replace("Onnx", "ONNX")


def _line(tag: str, cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>\n"
