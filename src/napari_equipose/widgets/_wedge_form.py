"""The tilt range of a tomogram's tilt series, or one for each particle, as a form."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox

from ..geometry import InputError, MissingWedge
from ..io import wedges_of
from ._forms import Choice, Form, named

Wedges = MissingWedge | list[MissingWedge] | None
_WHOLE = "whole"
_COLUMNS = ["tilt_min", "tilt_max"]
_BUTTONS = 50  # pixels: those of napari's style on both sides of a number


class WedgeForm(Form):
    """What a tilt series measured.

    Parameters
    ----------
    room : str
        Word that object names begin with.
    untold : str
        The entry for no tilt range; then a missing wedge that is plainly seen is asked for.
    tip : str
        Of that choice.
    """

    def __init__(self, room: str, untold: str, tip: str) -> None:
        super().__init__()
        name = f"equipose.{room}."
        self._own_axis = False
        self.axis = named(
            Choice(
                {
                    untold: None,
                    "tilted about y": "y",
                    "tilted about x": "x",
                    "no missing wedge": _WHOLE,
                }
            ),
            f"{name}tilt_axis",
            tip,
        )
        self.own = named(
            QCheckBox(),
            f"{name}tilt_own",
            "Take the tilt range of each particle from its columns tilt_min and tilt_max, in\n"
            "degrees; else they all have the one below.",
        )
        self.own.setChecked(True)
        self.low, self.high = (
            named(_angle(value), f"{name}tilt_{end}", f"{word} tilt angle of the series.")
            for end, word, value in (("min", "Least", -60), ("max", "Largest", 60))
        )
        self.add("Tilt series", self.axis)
        self._own_row = self.add("", self.own)
        self._range_row = self.add("Tilt range", self.low, self.high)
        self._has_own = False
        self.axis.currentIndexChanged.connect(self._show_rows)
        self.own.toggled.connect(self._show_rows)
        self._show_rows()

    def _show_rows(self) -> None:
        there = self.axis.value in ("y", "x")
        own = there and self._has_own
        self.show_row(self._own_row, own)
        self.show_row(self._range_row, there and not (own and self.own.isChecked()))

    def show_own(self, tilts: pd.DataFrame | None) -> None:
        """Offer the ranges that particles have of their own; None where they have none."""
        self._has_own = tilts is not None
        if tilts is not None:
            low, high = (_ends(tilts, name) for name in _COLUMNS)
            self.own.setText(f"each its own: {low} to {high}")
        if self._has_own and self.axis.value is None:
            self.axis.value, self._own_axis = "y", True
        elif not self._has_own and self._own_axis:
            self.axis.value, self._own_axis = None, False
        self._show_rows()

    def show_range(self, about: Mapping[str, Any]) -> None:
        """Take what the metadata of a layer say."""
        if about.get("tilt_min") is None or about.get("tilt_max") is None:
            return
        self.axis.value = about.get("tilt_axis", "y")
        self.low.setValue(float(about["tilt_min"]))
        self.high.setValue(float(about["tilt_max"]))

    def read(self) -> MissingWedge | None:
        """What the tilt series measured, all of it where no wedge is missing; None if not told.

        Raises
        ------
        InputError
            If the range is none.
        """
        if self.axis.value is None:
            return None
        if self.axis.value == _WHOLE:
            return MissingWedge(tilt_min_deg=-90, tilt_max_deg=90)
        return MissingWedge.of_range(self.low.value(), self.high.value(), self.axis.value)

    def read_each(self, tilts: pd.DataFrame | None, n: int, name: str) -> Wedges:
        """What was measured of each of ``n`` particles, where they have ranges of their own.

        Raises
        ------
        InputError
            If a range is none, or the ranges are not those of the particles.
        """
        if tilts is None or self.axis.value not in ("y", "x") or not self.own.isChecked():
            return self.read()
        if len(tilts) != n:
            raise InputError(
                f"{name}: its table tells the tilt ranges of {len(tilts)} particles, and there are "
                f"{n}; open its file again, or give one tilt range for all."
            )
        return wedges_of(tilts, name, self.axis.value)


def tilts_of(table: Any) -> pd.DataFrame | None:
    """Columns of a table that tell the tilt range of each row; None where it has none."""
    if not isinstance(table, pd.DataFrame):
        return None
    found = [name for name in _COLUMNS if name in table]
    return table[found].reset_index(drop=True) if found else None


def measured_of_all(wedge: Wedges) -> MissingWedge | None:
    """What was measured of every particle: a model is trained with one tilt range.

    Raises
    ------
    InputError
        If that is nothing.
    """
    if not isinstance(wedge, list):
        return wedge
    low = max(one.tilt_min_deg for one in wedge)
    high = min(one.tilt_max_deg for one in wedge)
    if low >= high:
        raise InputError(
            "the tilt ranges of the particles have no angle in common, and a model is trained with "
            "one; choose a model that is trained, or leave out the particles that differ."
        )
    return MissingWedge(tilt_min_deg=low, tilt_max_deg=high, tilt_axis=wedge[0].tilt_axis)


def record_of_wedge(wedge: Wedges) -> dict[str, Any] | None:
    """A tilt range as plain JSON; of each particle its own."""
    if not isinstance(wedge, list):
        return None if wedge is None else asdict(wedge)
    return {
        "tilt_min_deg": [one.tilt_min_deg for one in wedge],
        "tilt_max_deg": [one.tilt_max_deg for one in wedge],
        "tilt_axis": wedge[0].tilt_axis,
    }


def _ends(tilts: pd.DataFrame, name: str) -> str:
    """The least and the largest of a column of angles, once where they are the same."""
    if name not in tilts:
        return "?"
    known = pd.to_numeric(tilts[name], "coerce").dropna()
    ends = [f"{end:g}" for end in (known.min(), known.max())] if len(known) else ["?"]
    return f"{' … '.join(dict.fromkeys(ends))}°"


def _angle(value: float) -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(-90, 90)
    spin.setDecimals(1)
    spin.setValue(value)
    spin.setSuffix("°")
    # a scroll bar beside the form takes nothing of the angle
    room = spin.fontMetrics().horizontalAdvance("-90.0° ") + _BUTTONS
    spin.setMinimumWidth(room)
    return spin
