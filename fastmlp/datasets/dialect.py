"""The dialect of a text table: its column separator, decimal mark and thousands separator.

`csv.Sniffer` takes the commas of `1,5;2,5` for separators, so the separator is found by reading the
first rows with each candidate: the right one gives rows of equal width, with the most numbers.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import InputError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_ROWS = 20  # number of rows that are read to find the separator
_SAMPLE = 1 << 16  # characters
_NUMBER = re.compile(r"\s*[+-]?\d[\d.,]*([eE][+-]?\d+)?\s*")
_PLAIN = r"[+-]?\d+"
# Commas that must be decimal marks, and commas that may also group thousands.
_DECIMAL_COMMA = re.compile(r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?\s*")
_GROUPED_BY_COMMA = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})+\s*")
# A number with either decimal mark, perhaps with separators between thousands.
_ANY = re.compile(r"\s*[+-]?(\d{1,3}([.,' ]\d{3})+|\d+)?([.,]\d*)?([eE][+-]?\d+)?\s*")


class Dialect(NamedTuple):
    """The special characters of a text table; None if they are to be detected."""

    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None

    def checked(self, where: str) -> Dialect:
        """The same dialect; refuses options that are not single characters, or ambiguous."""
        for name, value in self._asdict().items():
            if value is not None and (not isinstance(value, str) or len(value) != 1):
                raise InputError(
                    where, f"{name} as one character", repr(value), "pass for example ';' or ','"
                )
        if self.decimal not in (None, ".", ","):
            raise InputError(where, "decimal as '.' or ','", repr(self.decimal), "pass one of them")
        if self.thousands is not None and (self.thousands == self.decimal or self.thousands == "-"):
            raise InputError(
                where, "thousands other than the decimal mark", repr(self.thousands),
                "pass another character for one of them",
            )  # fmt: skip
        if self.thousands in (".", ",") and self.decimal is None:
            return self._replace(decimal="," if self.thousands == "." else ".")
        return self

    def described(self) -> str:
        """A text for the user about what was detected in the file."""
        name = SEPARATORS.get(self.separator or "", repr(self.separator))
        comma = " and a decimal comma" if self.decimal == "," else ""
        return f"read with a {name} between columns{comma}"


def encoding_of(file: Path) -> str:
    """UTF-8, with or without a byte order mark, or the UTF-16 that spreadsheets write."""
    with _opened(file) as stream:
        start = stream.read(2)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def find_separator(file: Path, encoding: str, usual: str) -> str:
    """The character between the columns of a file; the usual one unless another fits better."""
    with io.TextIOWrapper(_opened(file), encoding, newline="") as stream:
        sample = stream.read(_SAMPLE)
    is_whole = len(sample) < _SAMPLE
    tables = {mark: _rows(sample, mark, is_whole) for mark in SEPARATORS}
    fitting = [mark for mark, rows in tables.items() if len({*map(len, rows)}) == 1]
    fitting = [mark for mark in fitting if len(tables[mark][0]) > 1]
    if not fitting:  # rows of different widths, or a single column: the header decides
        in_header = [mark for mark, rows in tables.items() if rows and len(rows[0]) > 1]
        return in_header[0] if len(in_header) == 1 else usual

    def merit(mark: str) -> tuple[int, int, bool]:
        cells = [cell for row in tables[mark] for cell in row]
        n_numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in cells)
        return n_numbers, len(cells), mark == usual

    return max(fitting, key=merit)


def _opened(file: Path) -> IO[bytes]:
    if file.name.lower().endswith(".gz"):
        return gzip.open(file)  # type: ignore[return-value]
    return file.open("rb")


def _rows(sample: str, mark: str, is_whole: bool) -> list[list[str]]:
    """The first rows split at the mark, without empty rows and an incomplete last one."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=mark)
    try:
        rows = [row for row in itertools.islice(reader, _ROWS + 1) if row]
    except csv.Error:
        return []
    return rows if is_whole and len(rows) <= _ROWS else rows[:-1]


def looks_like_number(cell: str) -> bool:
    """Whether a text is a number in some common dialect."""
    return _ANY.fullmatch(cell) is not None and any(map(str.isdigit, cell))


def has_decimal_commas(cells: list[str]) -> bool:
    """Whether all texts are numbers and some of their commas must be decimal marks."""
    commas = [cell for cell in cells if "," in cell]
    numbers = all(
        _DECIMAL_COMMA.fullmatch(cell) or re.fullmatch(rf"\s*{_PLAIN}\s*", cell) for cell in cells
    )
    return numbers and not all(_GROUPED_BY_COMMA.fullmatch(cell) for cell in commas)


def grouped_numbers(cells: list[str], thousands: str, decimal: str) -> bool:
    """Whether all texts are numbers, some of them with separators between thousands."""
    mark, point = re.escape(thousands), re.escape(decimal)
    pattern = re.compile(rf"\s*[+-]?(\d{{1,3}}({mark}\d{{3}})+|\d+)({point}\d*)?\s*")
    return all(map(pattern.fullmatch, cells)) and any(thousands in cell for cell in cells)


def advice_for(cells: list[str], decimal: str) -> str:
    """The option with which these texts would be read as numbers, or an empty string."""
    if grouped_numbers(cells, ",", "."):
        if all(_GROUPED_BY_COMMA.fullmatch(cell) for cell in cells if "," in cell):
            return "say what their commas are: thousands (--thousands ,) or decimals (--decimal ,)"
        return "say that commas group thousands (--thousands ,)"
    if grouped_numbers(cells, ".", ","):
        return "say that points group thousands (--thousands .)"
    if decimal == "." and has_decimal_commas(cells):
        return "say that commas are decimal marks (--decimal ,)"
    return ""
