"""The text of STAR files: blocks of one row or of many, quoted values, comments."""

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

import pandas as pd

from ..geometry import InputError

# A quote only ends a value where a blank follows, and a # only begins a comment after one.
_VALUE = re.compile(
    r"""(?:'((?:[^']|'(?=\S))*)'|"((?:[^"]|"(?=\S))*)")(?=\s|$)|(\#.*)|(\S+)""", re.ASCII
)
_NEEDS_QUOTES = re.compile(r"""\s|^$|^['"#_]|^(?:data_|loop_|save_|stop_|global_)""", re.A | re.I)
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f]")
_NOT_KNOWN = ["nan", "NaN", "<NA>"]
# What stands for blanks, and for nothing, while a row is cut at its blanks.
_BLANKS = {" ": "\ue000", "\t": "\ue001"}
_NOTHING = "\ue002"


def parse_star(content: bytes, text: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Read every block of a STAR file.

    Parameters
    ----------
    content : bytes
        UTF-8 or, with its mark, UTF-16; lines may end as on any system.
    text : sequence of str
        Columns that stay text, whatever they look like.

    Returns
    -------
    dict of DataFrame
        By the names of the blocks; of a block that is no loop, one row.

    Raises
    ------
    ValueError
        If it is no such text, or a row has more or fewer values than there are columns, or a
        column or the particles stand there twice.
    """
    blocks: dict[str, pd.DataFrame] = {}
    block: _Block | None = None
    lines = _decoded(content).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        bare = line.lstrip(" \t")
        if not bare or bare[0] == "#":
            continue
        start = bare[:5].lower()
        if start == "data_":
            _keep(blocks, block, text)
            block = _Block(bare[5:].split()[0] if bare[5:].split() else "")
        elif block is not None:
            if start == "loop_":
                block.begin_loop()
            else:
                block.add(line, bare, number)
    _keep(blocks, block, text)
    return blocks


def _decoded(content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8 or UTF-16") from None
    if "\0" in text:
        raise ValueError("it is no text")
    return text


def _keep(blocks: dict[str, pd.DataFrame], block: "_Block | None", text: Sequence[str]) -> None:
    if block is None or not block.columns:
        return
    name, number = block.name, 1
    while name in blocks:
        if block.name in ("particles", "optics"):
            raise ValueError(f"it has the block data_{block.name} twice")
        number += 1
        name = f"{block.name} ({number})"
    blocks[name] = block.table(text)


class _Block:
    """One block while it is read: its first loop, or the values it has without one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns: list[str] = []
        self._rows: list[str] = []
        self._alone: list[str] = []
        self._loop = self._closed = False

    def begin_loop(self) -> None:
        """Take what follows for a loop; a second one in a block is left out."""
        self._closed = self._loop
        if not self._loop:
            self._loop, self.columns = True, []

    def add(self, line: str, bare: str, number: int) -> None:
        """Take a line that is not empty."""
        if self._closed:
            return
        if bare[0] == "_" and not self._rows:
            name, *values = _values(bare)
            if name[1:] in self.columns:
                raise ValueError(f"the block data_{self.name} has the column {name[1:]} twice")
            self.columns.append(name[1:])
            self._alone += [] if self._loop else values[:1] or [_NOTHING]
        elif self._loop:
            if "'" in line or '"' in line or "#" in line or not line.isascii():
                values = _values(line)
                line = " ".join(values)
            else:
                values = line.split()
            if len(values) != len(self.columns):
                raise ValueError(
                    f"line {number} has {len(values)} values, and there are "
                    f"{len(self.columns)} columns"
                )
            self._rows.append(line)

    def table(self, text: Sequence[str]) -> pd.DataFrame:
        """Make the table of what was taken."""
        rows = self._rows if self._loop else [" ".join(self._alone)]
        if not rows:
            return pd.DataFrame({name: pd.Series(dtype=object) for name in self.columns})
        joined = "\n".join(rows)
        table = pd.read_csv(
            StringIO(joined),
            sep=r"\s+",
            header=None,
            names=self.columns,
            index_col=False,
            dtype={name: str for name in self.columns if name in text},
            keep_default_na=False,
            na_values=_NOT_KNOWN,
            quoting=csv.QUOTE_NONE,
            low_memory=False,
        )
        if any(stand_in in joined for stand_in in (*_BLANKS.values(), _NOTHING)):
            back = str.maketrans({mark: blank for blank, mark in _BLANKS.items()} | {_NOTHING: ""})
            for name in table.columns:
                if not pd.api.types.is_numeric_dtype(table[name]):
                    known = table[name].notna()
                    table.loc[known, name] = table.loc[known, name].map(
                        lambda value: value.translate(back) if isinstance(value, str) else value
                    )
        return table


def _values(line: str) -> list[str]:
    """The values of a line, without their quotes and with no blanks in them."""
    values = []
    for match in _VALUE.finditer(line):
        single, double, comment, bare = match.groups()
        if comment is not None:
            break
        value = next(one for one in (single, double, bare) if one is not None)
        for blank, mark in _BLANKS.items():
            value = value.replace(blank, mark)
        values.append(value or _NOTHING)
    return values


def format_star(blocks: dict[str, pd.DataFrame]) -> str:
    """Write blocks as loops of a STAR file.

    Raises
    ------
    InputError
        If a value can't be written so that it is read back as it is.
    """
    return "\n".join(_loop(name, table) for name, table in blocks.items())


def _loop(name: str, table: pd.DataFrame) -> str:
    head = [f"data_{name}", "", "loop_"]
    head += [f"_{column} #{number}" for number, column in enumerate(table.columns, 1)]
    quoted = {
        column: [_quoted(value) for value in table[column]]
        for column in table.columns
        if not pd.api.types.is_numeric_dtype(table[column])
    }
    rows = table.assign(**quoted).to_csv(
        sep="\t",
        header=False,
        index=False,
        float_format="%.6f",
        na_rep="nan",
        quoting=csv.QUOTE_NONE,
        lineterminator="\n",
    )
    return "\n".join(head) + f"\n{rows}\n"


def check_names(names: Iterable[str]) -> None:
    """Refuse names that a STAR file can't hold: for before the work.

    Raises
    ------
    InputError
    """
    for name in names:
        _quoted(name)


def _quoted(value: Any) -> str:
    if not isinstance(value, str):
        return "nan" if pd.isna(value) else str(value)
    if _UNWRITABLE.search(value):
        raise InputError(
            f"the name {value!r} has a tab or a line break in it, which STAR files can't hold; "
            "rename it, or write a .csv."
        )
    if not _NEEDS_QUOTES.search(value):
        return value
    for mark in "\"'":
        if f"{mark} " not in value and not value.endswith(mark):
            return f"{mark}{value}{mark}"
    raise InputError(
        f"the name {value!r} has quotes of both kinds before blanks, which STAR files can't hold; "
        "rename it, or write a .csv."
    )
