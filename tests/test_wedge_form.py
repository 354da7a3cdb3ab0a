"""The tilt ranges that the Align panel takes: one for all, or of each particle its own."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from tiny import untrained_harmony

from napari_equipose.geometry import InputError, MissingWedge
from napari_equipose.inference import finish
from napari_equipose.models import load_model
from napari_equipose.widgets import _align_job
from napari_equipose.widgets._align_forms import AlignForms
from napari_equipose.widgets._models import shelf

pytestmark = pytest.mark.usefixtures("home")

N = 9
LOW, HIGH = -60.0 + np.arange(N), 50.0 + np.arange(N)


@pytest.fixture
def forms(qtbot) -> Any:
    made = AlignForms(ViewerModel())
    for form in (*made.shown, made.settings):
        qtbot.addWidget(form)
    yield made
    made.detach()


def on_points(forms: AlignForms, **columns: Any) -> Any:
    """Add a tomogram with points, and choose them."""
    viewer = forms.source._viewer
    viewer.add_image(np.random.default_rng(0).normal(size=(24, 60, 60)), name="tomogram")
    places = [(12, y, x) for y in (12, 30, 48) for x in (12, 30, 48)]
    layer = viewer.add_points(places, features=columns, name="places")
    forms.source.kind.value = "points"
    forms.source.box_size.setValue(16)
    return layer


def ends(wedges: list[MissingWedge]) -> list[tuple[float, float]]:
    return [(one.tilt_min_deg, one.tilt_max_deg) for one in wedges]


def test_each_point_has_the_range_of_its_own_row(forms, home, monkeypatch) -> None:
    points = on_points(forms, tilt_min=LOW, tilt_max=HIGH)
    points.data = points.data + np.array([[0, 50, 0]] + [[0, 0, 0]] * (N - 1))  # outside
    points.shown = np.arange(N) != 4
    assert forms.wedge.axis.value == "y"
    assert forms.wedge.own.text() == "each its own: -60 … -52° to 50 … 58°"
    assert not forms.wedge.low.isVisibleTo(forms.wedge)
    path = untrained_harmony(home / "tiny.safetensors", box_size=16)
    forms.model.value = shelf.put(load_model(path), path)
    forms.wedge.axis.value = "x"
    order = forms.read()
    kept = [row for row in range(N) if row not in (0, 4)]
    assert ends(order.wedge) == [(LOW[row], HIGH[row]) for row in kept]
    assert {one.tilt_axis for one in order.wedge} == {"x"}
    given = []

    def align(*boxes: Any, wedge: Any, **more: Any) -> Any:
        given.append(wedge)
        raise InputError("far enough.")
        yield

    monkeypatch.setattr(_align_job, "align", align)
    with pytest.raises(InputError, match="far enough"):
        finish(_align_job.AlignRun(order, 1).work())
    assert given == [order.wedge]
    forms.wedge.own.setChecked(False)
    assert forms.wedge.low.isVisibleTo(forms.wedge)
    assert ends([forms.read().wedge]) == [(-60, 60)]


def test_points_without_ranges_have_none(forms) -> None:
    layer = on_points(forms, tilt_min=LOW, tilt_max=HIGH)
    forms.source._viewer.layers.remove(layer)
    assert forms.wedge.axis.value is None  # as it was before they told
    assert not forms.wedge.own.isVisibleTo(forms.wedge)


def test_a_model_is_trained_with_what_was_measured_of_all(forms) -> None:
    on_points(forms, tilt_min=LOW, tilt_max=HIGH)
    settings = forms.read().training.run.settings
    assert (settings["tilt_min_deg"], settings["tilt_max_deg"]) == (LOW.max(), HIGH.min())


def test_a_stack_has_the_ranges_of_its_star_file(forms) -> None:
    table = pd.DataFrame({"rlnImageName": ["a"] * N, "tilt_min": LOW, "tilt_max": HIGH})
    boxes = np.random.default_rng(0).normal(size=(N, 16, 16, 16))
    layer = forms.source._viewer.add_image(boxes, name="boxes", metadata={"table": table})
    assert ends(forms.read().wedge) == list(zip(LOW, HIGH, strict=True))
    layer.data = boxes[:8]
    with pytest.raises(InputError, match="boxes: its table tells the tilt ranges of 9 particles"):
        forms.read()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"tilt_min": LOW}, "tomogram: a tilt range has two columns, tilt_min and tilt_max"),
        ({"tilt_min": LOW, "tilt_max": np.full(N, np.nan)}, "particle 1: .* got -60 to nan"),
        ({"tilt_min": LOW, "tilt_max": LOW + 1.5}, "no angle in common"),
    ],
)
def test_ranges_that_are_none_are_refused(forms, columns, words) -> None:
    on_points(forms, **columns)
    with pytest.raises(InputError, match=words):
        forms.read()


def test_a_person_says_that_no_wedge_is_missing(forms: Any) -> None:
    forms.wedge.axis.value = None
    assert forms.wedge.axis.currentText() == "not told" and forms.wedge.read() is None
    forms.wedge.axis.setCurrentIndex(forms.wedge.axis.findText("no missing wedge"))
    assert forms.wedge.read() == MissingWedge(tilt_min_deg=-90, tilt_max_deg=90)
    assert not forms.wedge.low.isVisibleTo(forms.wedge)
