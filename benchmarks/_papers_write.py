"""Pages of results: our rows beside the paper's, where each falls short, and how it was made."""

import textwrap
from typing import Any

from _papers_tables import COLUMNS, LOWER_IS_BETTER, Table


def write_page(table: Table, rows: list[dict[str, Any]]) -> str:
    """Write the Markdown of a table.

    Parameters
    ----------
    table : Table
    rows : list of dict
        As `papers.py` keeps them: data, system, preset, seed, minutes, steps, command, date,
        machine, measures.
    """
    notes = textwrap.wrap(f"Made by `benchmarks/papers.py`. {table.notes}", 100)
    lines = [f"# {table.title}", "", *notes, ""]
    for data in table.data:
        mine = [row for row in rows if row["data"] == data]
        if not mine:
            continue
        names = [name for name in table.measures if any(name in _all(table, row) for row in mine)]
        lines += [f"## {data}", "", _line(["system", *(COLUMNS[name] for name in names)])]
        lines.append("|---" * (len(names) + 1) + "|")
        for row in mine:
            paper = table.systems[row["system"]].paper.get(data, {})
            if paper:
                lines.append(_line([f"{row['system']}, the paper's", *_cells(names, paper)]))
            lines.append(_line([f"{row['system']}, ours", *_cells(names, row["measures"])]))
        lines += ["", *(_judged(table, row) for row in mine), ""]
    lines += ["## How each row was made", ""]
    names = ["row", "preset", "seed", "minutes", "steps, at most", "date", "machine", "command"]
    lines += [_line(names), "|---" * len(names) + "|", *(_how(row) for row in rows), ""]
    return "\n".join(lines)


def _all(table: Table, row: dict[str, Any]) -> dict[str, float]:
    measures: dict[str, float] = row["measures"]
    return measures | table.systems[row["system"]].paper.get(row["data"], {})


def _judged(table: Table, row: dict[str, Any]) -> str:
    """Say where a row falls short of the paper's."""
    paper = table.systems[row["system"]].paper.get(row["data"], {})
    both = [name for name in paper if name in row["measures"]]
    if not both:
        return f"- {row['system']}: the paper has no figure to compare with."
    short = []
    for name in both:
        gap = paper[name] - row["measures"][name]
        if name in LOWER_IS_BETTER:
            gap = -gap
        if gap > 0.0005:
            short.append(f"{COLUMNS[name]} by {gap:.3f}")
    if not short:
        return f"- {row['system']}: nowhere short of the paper."
    return f"- {row['system']}: **falls short of the paper** in {', '.join(short)}."


def _how(row: dict[str, Any]) -> str:
    machine = row["machine"]
    where = machine["gpu"] or f"{machine['cores']} cores of {machine['processor']}"
    where += f", load {machine['load']}, torch {machine['torch']}"
    name = f"{row['data']}, {row['system']}"
    values = [name, *(str(row[k]) for k in ("preset", "seed", "minutes", "steps", "date")), where]
    return _line([*values, f"`{row['command']}`"])


def _cells(names: list[str], values: dict[str, float]) -> list[str]:
    return [f"{values[name]:.3f}" if name in values else "" for name in names]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
