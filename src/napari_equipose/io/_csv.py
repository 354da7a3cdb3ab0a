"""CSV files: ours, and those of other programs, spreadsheets and languages."""

import csv
import re
from io import StringIO
from pathlib import Path
from typing import Literal

import pandas as pd

from ..geometry import InputError
from ._files import atomic_path, existing_file, reading

_IMAGE = "image"
_HEAD = 2**16
_NOT_KNOWN = ["", "NA", "N/A", "nan", "NaN", "NAN", "null", "None", "<NA>"]
# Other names of our columns, in small letters and without anything else.
_ALIASES = {
    "image": ("imagename", "micrograph", "micrographname", "rlnmicrographname"),
    **{axis: (axis, f"{axis}coordinate", f"{axis}coord") for axis in "xyz"},
}


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a CSV file as it stands, names of images as text.

    Cells may be parted by commas, semicolons (then with decimal commas too) or tabs. Columns that
    are named ``X-Coordinate`` or the like get our names.

    Raises
    ------
    InputError
        If the file is missing or damaged, or a row has more cells than there are names.
    """
    path = existing_file(path)
    text = _decoded(path.read_bytes())
    with reading(path, "a CSV file that can be read"):
        text, parted_by, names = _header(text)
        twice = [name for name in names if name and names.count(name) > 1]
        if twice:
            raise InputError(f"{path} has the column {twice[0]} twice.")
        aliases = _aliases(names)
        as_text = [name for name in names if aliases.get(name, name) == _IMAGE]
        decimal = "," if parted_by == ";" and re.search(r"\d,\d", text) else "."
        try:
            table = pd.read_csv(
                StringIO(text),
                sep=parted_by,
                header=0,
                names=[name or f"column {number}" for number, name in enumerate(names, 1)],
                decimal=decimal,
                dtype=dict.fromkeys(as_text, "str"),
                skipinitialspace=True,
                keep_default_na=False,
                # An image may be called NA.
                na_values={name: [""] if name in as_text else _NOT_KNOWN for name in names},
            )
        except pd.errors.ParserError:
            _check_rows(path, text, parted_by, len(names))
            raise
        if not isinstance(table.index, pd.RangeIndex):
            _check_rows(path, text, parted_by, len(names))
        return table.rename(columns=aliases)


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # a spreadsheet on Windows, as a rule


def _header(text: str) -> tuple[str, str, list[str]]:
    """Text from the names of the columns on, what parts its cells, and these names."""
    text = text.lstrip("\ufeff\r\n")
    if text[:4].lower() == "sep=":  # a hint that Excel gives itself
        text = text.partition("\n")[2]
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    parted_by = next((mark for mark in ",;\t" if mark in first), ",")
    names = next(csv.reader([first], delimiter=parted_by), [])
    return text, parted_by, [name.strip() for name in names]


def csv_columns(path: str | Path) -> list[str]:
    """Names of the columns of a CSV file, ours where they go by others; none if it can't be read.

    Only the beginning of the file is read.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
        names = _header(_decoded(head))[2]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    aliases = _aliases(names)
    return [aliases.get(name, name) for name in names]


def _aliases(names: list[str]) -> dict[str, str]:
    """Our names of columns that go by others, where that is clear."""
    plain = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in names}
    found = {}
    for ours, others in _ALIASES.items():
        known = [name for name in names if plain[name] in others]
        if ours not in names and len(known) == 1:
            found[known[0]] = ours
    return found


def _check_rows(path: Path, text: str, parted_by: str, n_names: int) -> None:
    """Refuse rows of more cells than the columns have names.

    Raises
    ------
    InputError
    """
    rows = csv.reader(StringIO(text, newline=""), delimiter=parted_by)
    next(rows, None)
    for number, row in enumerate((row for row in rows if row), 1):
        if len(row) > n_names:
            raise InputError(
                f"{path}: row {number} has {len(row)} cells, and the header {n_names}. Are commas "
                "in it decimal marks? Part cells by semicolons then."
            )


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table so that it is read back as it is, whole or not at all."""
    blank = _IMAGE in table and table[_IMAGE].astype(str).str.contains(r"^\s|\r").any()
    quoting: Literal[0, 2] = 2 if blank else 0  # csv.QUOTE_NONNUMERIC, csv.QUOTE_MINIMAL
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g", quoting=quoting)
