"""``equipose evaluate``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ._options import Json


class Evaluate(TyperCommand):
    """A command whose help ends with the keys of what it prints."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """List the keys; what knows them is imported only when they are asked for."""
        from ..evaluation import MEASURES

        with formatter.section("Keys of the JSON object, as far as the columns allow"):
            reasons = ("not_measured", "of each that is not there, why")
            formatter.write_dl([*MEASURES.items(), reasons])


def evaluate(
    table: Annotated[Path, typer.Argument(help="What encode, detect or align wrote: .csv, .star.")],
    truth: Annotated[Path, typer.Argument(help="What is true of the same objects: .csv, .star.")],
    symmetry: Annotated[
        str, typer.Option(metavar="C7|D2|...", help="Of the objects: Cn, Dn, T, O or I.")
    ] = "C1",
    tolerance: Annotated[
        float, typer.Option(metavar="PX", help="Largest distance of a pick from its object.")
    ] = 10.0,
    as_json: Json = False,
) -> None:
    """Measure poses or picks against the truth, as the papers do, and more soundly.

    Rows of poses belong together by their index, picks are matched by their positions. One JSON
    object goes to standard output and, unless --json is given, a table to standard error.
    """
    from .. import io
    from ..evaluation import evaluate_tables
    from ..geometry import InputError

    found = io.read_columns(table)
    picks = {"y", "x"} <= set(found) and "translation_y" not in found
    true = io.read_columns(truth, "picks" if picks else "poses")
    try:
        result = evaluate_tables(found, true, symmetry=symmetry, tolerance=tolerance)
    except InputError as error:
        raise InputError(f"{error} TABLE is {table}, TRUTH is {truth}.") from error
    result = {"table": str(table), "truth": str(truth), **result}
    if not as_json:
        typer.echo("\n".join(_lines(result)), err=True)
    typer.echo(json.dumps(result, allow_nan=False))


def _lines(result: dict[str, Any]) -> list[str]:
    """A line for each value, what it means beside it, and for what was not measured the reason."""
    from ..evaluation import MEASURES

    measures = {name: result[name] for name in MEASURES if name in result}
    rows = [(name, _shown(value), MEASURES[name]) for name, value in measures.items()]
    rows += [(name, "-", why) for name, why in result["not_measured"].items()]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    head = f"{result['n']} {result['kind']} against {result['n_truth']} true ones"
    return [head, *(f"{a:{widths[0]}}  {b:>{widths[1]}}  {c}" for a, b, c in rows)]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.4g}" for name, number in value.items())
    return f"{value:.4g}"
