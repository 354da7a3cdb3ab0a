"""Tables of the field board: a row an image, and a row a tier, from the lines of field.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Line = dict[str, Any]
Row = dict[str, Any]

MARGIN = 0.05
"""An F1 further below blob_log's than this counts against an image."""
_LEGEND = """\
# Field board

Images on which nothing was tuned; all that is told is the size of a box around an object. Figures
are medians over the seeds, and `spread` is the range of F1 over them. `F1`, `recall` and
`precision` are as delivered, `best F1` at the threshold that the truth would choose. `angle` is
the median error in degrees modulo the symmetry, `no guess` that of one angle for all objects.
`blob_log` is scikit-image's, told its best size, polarity and threshold by the truth; `APPLE` is
ASPIRE's particle picker, told the true diameter, at the best of eight settings. `below blob_log`:
by more than 0.05. `FDR` is the part of false objects among those delivered, beside the rate at
which the threshold was set. Each seed of the micrographs is another micrograph, and counts for
itself."""
_SUMMED_UP = ("model", "candidates")


def groups(lines: list[Line]) -> dict[str, list[Line]]:
    """Part the lines by what was measured: ``candidates``, ``model``, ``model, 3 examples``."""
    parted: dict[str, list[Line]] = {}
    for line in lines:
        if line["mode"] in _SUMMED_UP:
            clicks = line.get("examples", 0)
            title = line["mode"] + (f", {clicks} examples" if clicks else "")
            parted.setdefault(title, []).append(line)
    return parted


def image_rows(mine: list[Line], lines: list[Line]) -> list[Row]:
    """Make a row an image: medians over the seeds of one group, beside the peers of all lines.

    ``spread`` is the range of F1 over the seeds.
    """
    rows = []
    for name in dict.fromkeys(line["image"] for line in mine):
        of_name = [line for line in mine if line["image"] == name]
        peers = [line for line in lines if line["image"] == name]
        row: Row = {"image": name, "seeds": len(of_name), "n": _median(of_name, "objects")}
        scored = [scores_of(line) for line in of_name]
        row |= {
            "polarity": _polarities(of_name),
            "recall": _median(scored, "recall"),
            "precision": _median(scored, "precision"),
            "F1": _median(scored, "f1"),
            "spread": spread(scored, "f1"),
            "best F1": _median(scored, "best_f1"),
            "angle": _median(scored, "angle_deg"),
            "no guess": _median(scored, "angle_no_guess_deg"),
        }
        if of_name[0]["mode"] == "model":
            row["cand. recall"] = _median(of_name, "candidates_recall")
            row["cand. best F1"] = _median(of_name, "candidates_best_f1")
            row["train s"] = _median(of_name, "train_s")
            row["detect s"] = _median(of_name, "detect_s")
        else:
            row["s"] = _median(of_name, "candidates_s")
        row["GB"] = _median(of_name, "memory_gb")
        row["blob_log"] = _median(peers, "blob_log_f1")
        row["APPLE"] = _median(peers, "apple_f1")
        rows.append(row)
    return rows


def tier_rows(mine: list[Line], lines: list[Line]) -> list[Row]:
    """Make a row a tier, over the images of the tier, each by the median of its seeds.

    Of the micrographs, of which each seed is another, every seed counts for itself.
    """
    rows = []
    for tier in dict.fromkeys(line["tier"] for line in mine):
        units: dict[str, list[Line]] = {}
        for line in mine:
            if line["tier"] == tier:
                units.setdefault(_unit(line), []).append(line)
        scored = {unit: [scores_of(line) for line in each] for unit, each in units.items()}
        f1 = {unit: _median(each, "f1") or 0.0 for unit, each in scored.items()}
        worst = sorted(f1, key=lambda unit: f1[unit])[:3]
        spreads = [spread(each, "f1") for each in scored.values() if len(each) > 1]
        rows.append(
            {
                "tier": tier,
                "images": len(units),
                "median F1": float(np.median(list(f1.values()))),
                "mean F1": float(np.mean(list(f1.values()))),
                "worst three": ", ".join(f"{unit} {f1[unit]:.2f}" for unit in worst),
                "spread": float(np.median(spreads)) if spreads else None,
                "wrong polarity": _count(units.values(), wrong_polarity),
                "below blob_log": _count(units.values(), lambda each: below_blob_log(each, lines)),
                "angle": _median([s for each in scored.values() for s in each], "angle_deg"),
                "worse than no guess": _count(scored.values(), worse_than_no_guess),
                **false_discovery_rate([line for each in units.values() for line in each]),
            }
        )
    return rows


def scores_of(line: Line) -> Line:
    """Take the scores that count for a line: the model's, or the candidates' where none is."""
    prefix = "candidates_" if line["mode"] == "candidates" else ""
    names = ("recall", "precision", "f1", "best_f1", "angle_deg", "angle_no_guess_deg")
    scores = {name: line.get(prefix + name) for name in names}
    if f"{prefix}error" in line:  # it says that it can't, and delivers nothing
        scores["f1"] = 0.0
    return scores


def wrong_polarity(lines: list[Line]) -> bool | None:
    """Say whether any seed took objects for the other polarity; None where none is true."""
    known = [x for x in lines if x.get("true_polarity") and x.get("polarity")]
    return any(x["polarity"] != x["true_polarity"] for x in known) if known else None


def below_blob_log(mine: list[Line], lines: list[Line]) -> bool | None:
    """Say whether an image is worse than blob_log's best by more than `MARGIN`."""
    unit = {_unit(line) for line in mine}
    oracle = _median([line for line in lines if _unit(line) in unit], "blob_log_f1")
    if oracle is None:
        return None
    return (_median([scores_of(line) for line in mine], "f1") or 0.0) < oracle - MARGIN


def worse_than_no_guess(scored: list[Line]) -> bool | None:
    """Say whether one angle for all objects would have been better."""
    ours, none = _median(scored, "angle_deg"), _median(scored, "angle_no_guess_deg")
    return None if ours is None or none is None else ours > none


def false_discovery_rate(lines: list[Line]) -> Row:
    """Compare the rate of false picks with the rate that the threshold was set at."""
    delivered = [line for line in lines if line.get("precision") is not None and line.get("picks")]
    said = [line for line in delivered if line.get("false_discovery_rate_set")]
    near = sum(
        0.5 <= (1 - line["precision"]) / line["false_discovery_rate_set"] <= 2 for line in said
    )
    realized = [1 - line["precision"] for line in delivered]
    return {
        "FDR set": _median(said, "false_discovery_rate_set"),
        "FDR realized": float(np.median(realized)) if realized else None,
        "within a factor of 2": f"{near} of {len(said)}" if said else None,
    }


def spread(lines: list[Line], name: str) -> float | None:
    """Range of a figure over lines; None of a single one."""
    values = [line[name] for line in lines if line.get(name) is not None]
    return float(max(values) - min(values)) if len(values) > 1 else None


def nonsense_rows(lines: list[Line]) -> list[Row]:
    """Make a row for each image that holds nothing to learn."""
    return [
        {
            "image": line["image"],
            "seed": line["seed"],
            "refused": line["refused"],
            "s": line["seconds"],
            "said": line["said"],
        }
        for line in lines
        if line["mode"] == "nonsense"
    ]


def sections(lines: list[Line]) -> list[tuple[str, list[Row]]]:
    """Make all tables, each with its title."""
    made = []
    for title, mine in groups(lines).items():
        made += [(title, image_rows(mine, lines)), (f"{title}: tiers", tier_rows(mine, lines))]
    if rows := nonsense_rows(lines):
        made.append(("nonsense", rows))
    return made


def write_markdown(path: Path, lines: list[Line]) -> None:
    """Write the tables for the manual."""
    commits = ", ".join(dict.fromkeys(line["commit"] for line in lines))
    parts = [_LEGEND, f"Measured with `benchmarks/field.py` at {commits}."]
    for title, rows in sections(lines):
        columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        table = [columns, ["---"] * len(columns)]
        table += [[_text(row[name]) for name in columns] for row in rows]
        parts += [f"**{title}**", "\n".join(f"| {' | '.join(cells)} |" for cells in table)]
    path.write_text("\n\n".join(parts) + "\n")


def _unit(line: Line) -> str:
    """Name what counts as one image."""
    name = str(line["image"])
    return f"{name}/{line['seed']}" if line.get("fresh") else name


def _polarities(lines: list[Line]) -> str | None:
    """Tell the polarities that were taken, and mark the wrong ones."""
    taken = dict.fromkeys(line.get("polarity") for line in lines)
    said = "/".join(str(polarity) for polarity in taken if polarity)
    return f"{said} (wrong)" if wrong_polarity(lines) else said or None


def _count(units: Any, judge: Callable[[list[Line]], bool | None]) -> str | None:
    """Say how many of the units that can be judged are so."""
    judged = [verdict for each in units if (verdict := judge(each)) is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else None


def _median(lines: list[Line], name: str) -> float | None:
    values = [line[name] for line in lines if line.get(name) is not None]
    return float(np.median(values)) if values else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and value > 1 else f"{value:.2f}"
    return str(value).replace("|", "/")
