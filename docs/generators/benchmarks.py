"""The page of measured numbers: `benchmarks.report`'s tables with its pictures between them."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import cases, report, rows

FOLDER = Path(__file__).parents[1] / "benchmarks"
COMMAND = """
Measure again, with MNIST's four files in a folder:

```bash
python -m pip install '.[bench]' && python -m benchmarks --data-home DIR
```
"""


def page() -> str:
    """The page, in Markdown, from results.json."""
    results = report.Results(FOLDER / "results.json")
    found = [row for kind in results.kinds() for row in results.rows(kind)]
    verdicts = [rows.verdict(row) for row in found if row.peer in rows.PEERS]
    faster, level, slower = map(verdicts.count, (rows.FASTER, rows.LEVEL, rows.SLOWER))
    count = (
        f"\nOf {len(verdicts)} comparisons with other libraries, fastmlp is faster in {faster}, "
        f"level in {level} and slower in {slower}. [What they show](../performance.md).\n"
    )
    text = results.markdown()
    for group in cases.GROUPS:
        heading = f"### {report.title(group)}\n"
        if (FOLDER / f"{group}.png").exists():  # of the first kind of machine
            text = text.replace(heading, f"{heading}\n{_picture(group)}\n", 1)
    text = re.sub(r"((?:^\|.*\n)+)", r":::{container} figures\n\1:::\n", text, flags=re.MULTILINE)
    front, mark, rest = text.partition("\n## ")
    return front + count + COMMAND + mark + rest


def _picture(group: str) -> str:
    alternative = f"{report.title(group)}: times better, a bar for each comparison"
    return f":::{{container}} chart\n![{alternative}]({group}.png)\n:::"
