"""The choice of a system in the Train panel."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from test_widgets_panels import child, click, messages, open_panel, wait

from napari_equipose.geometry import InputError
from napari_equipose.models import (
    VAE,
    Normalisation,
    TargetVAE,
    TargetVAEConfig,
    VAEConfig,
    load_model,
    save_model,
)
from napari_equipose.training import TrainingRun, check_kind, kinds, read_run
from napari_equipose.widgets._detect_source import DetectSource
from napari_equipose.widgets._forms import Choice
from napari_equipose.widgets._models import ModelShelf
from napari_equipose.widgets._system_choice import SystemChoice
from napari_equipose.widgets._train_settings import TrainSettings

pytestmark = pytest.mark.usefixtures("home")
RNG = np.random.default_rng(0)
FINDS = TargetVAE(TargetVAEConfig(box_size=15, fields=4, generator_width=8, n_features=8))


def offered(choice: SystemChoice) -> set[str]:
    return {name for name in kinds() if choice.can_choose(name)}


def reason(choice: Choice, name: str) -> str:
    return str(choice.itemData(choice.findData(name), Qt.ItemDataRole.ToolTipRole))


@pytest.mark.parametrize(
    ("source", "dimensions", "among", "not_among", "why"),
    [
        ("image", 2, "target-vae", "vae", "whole boxes.* target-vae, which finds objects in"),
        ("image", 2, "target-vae", "harmony", "harmony finds objects in volumes"),
        ("points", 2, "spatial-vae", "harmony", "knows no positions"),
        ("stack", 2, "beta-vae", None, ""),
        ("stack", 3, "spatial-vae", "target-vae", "train volumes with the model harmony"),
    ],
)
def test_systems_that_can_not_learn_from_the_source_are_greyed_and_say_why(
    qtbot, source: Any, dimensions: int, among: str, not_among: str | None, why: str
) -> None:
    choice = SystemChoice()
    qtbot.addWidget(choice)
    choice.offer_for(source, dimensions)
    assert among in offered(choice) and choice.can_choose(choice.value)
    assert reason(choice, among) == ""
    if not_among is None:
        assert offered(choice) == {
            n for n, k in kinds().items() if dimensions in k.model.dimensions
        }
    else:
        assert not_among not in offered(choice)
        assert re.search(why, reason(choice, not_among))


def test_a_system_that_is_no_longer_offered_makes_way(qtbot) -> None:
    choice = SystemChoice()
    qtbot.addWidget(choice)
    choice.offer_for("stack", 2)
    choice.value = "vae"
    choice.offer_for("points", 2)
    assert choice.value == "vae"
    choice.offer_for("image", 2)
    assert choice.value == "target-vae"


def test_the_system_that_was_picked_comes_back_when_it_can(qtbot) -> None:
    choice = SystemChoice()
    qtbot.addWidget(choice)
    choice.offer_for("stack", 2)
    first = choice.value
    choice.offer_for("stack", 3)
    assert choice.value != first
    choice.offer_for("stack", 2)
    assert choice.value == first
    choice.value = "mce-vae"
    choice.offer_for("image", 2)
    choice.offer_for("stack", 3)
    choice.offer_for("stack", 2)
    assert choice.value == "mce-vae"


def test_presets_and_settings_follow_the_system(qtbot) -> None:
    form = TrainSettings()
    qtbot.addWidget(form)
    assert (form.read()["model"], form.read()["content_dim"]) == ("target-vae", 2)
    form.preset.value = "balanced"
    form.model.value = "beta-vae"
    assert form.preset.value == "balanced" and form.content_dim.value() == 4
    form.content_dim.setValue(7)
    form.model.value = "harmony"
    texts = [form.preset.itemData(i) for i in range(form.preset.count())]
    assert tuple(texts) == check_kind("harmony").presets and form.preset.value == "fast"
    assert not form.likelihood.isEnabled() and form.content_dim.value() == 7
    for name in kinds():  # whatever is chosen, the form makes a run of it
        form.model.value = name
        assert TrainingRun(**form.read()).model == name


def test_a_run_of_any_system_is_shown_again(qtbot) -> None:
    form = TrainSettings()
    qtbot.addWidget(form)
    run = TrainingRun(
        model="spatial-vae", preset="paper", likelihood="bernoulli", settings={"n_features": 5}
    )
    form.show_run(run)
    assert TrainingRun(**form.read()) == run


def test_a_model_that_can_not_be_used_is_greyed_and_says_why(
    qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ModelShelf()
    monkeypatch.setattr("napari_equipose.widgets._model_choice.shelf", models)
    monkeypatch.setattr("napari_equipose.widgets._detect_source.shelf", models)
    source = DetectSource(ViewerModel())
    qtbot.addWidget(source)
    for name, model in {"codes": VAE(VAEConfig(box_size=16)), "finds": FINDS}.items():
        path = tmp_path / f"{name}.safetensors"
        save_model(path, model, Normalisation())
        models.load(path)
        if name == "codes":  # alone it is not chosen
            assert source.model.value is None
            with pytest.raises(InputError, match="train a model in the panel Train first"):
                source.read_model()
    assert source.model.value == "finds" and not source.model.can_choose("codes")
    assert "vae finds no objects in large images" in reason(source.model, "codes")
    said = source.model.load(tmp_path / "codes.safetensors")
    assert said.startswith("codes can't be used here. A model of vae finds no objects")
    assert source.model.value == "finds" and source.model.load(path) == ""
    source.detach()


def test_boxes_are_learned_by_another_system(make_napari_viewer, qtbot, home: Path) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(RNG.random((20, 12, 12), np.float32), name="small")
    panel = open_panel(viewer, "Train")
    source, model = (child(panel, f"equipose.train.{name}") for name in ("source", "model"))
    assert not model.can_choose("vae")
    source.setCurrentText("boxes")
    assert model.can_choose("vae")
    model.setCurrentText("vae")
    sizes = {"encoder_width": 8, "generator_width": 8, "steps_per_epoch": 2}
    pairs = " ".join(f"{name}={value}" for name, value in sizes.items())
    child(panel, "equipose.train.settings").setText(pairs)
    child(panel, "equipose.train.epochs").setValue(1)
    click(qtbot, panel, "equipose.train.start")
    wait(qtbot, panel, 300)
    assert messages() == [] and [row.count for row in panel.pictures.rows] == [6, 6, 6]
    saved = load_model(home / "equipose" / "small-1.safetensors")
    assert saved.kind == "vae"
    assert read_run(home / "equipose" / "small-1.run" / "run.json").model == "vae"
    assert not panel.next.isVisibleTo(panel)  # there is nothing it could find in an image


def test_objects_at_rest_are_offered_to_what_learns_from_them(
    make_napari_viewer, qtbot, home: Path
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(RNG.random((10, 12, 12), np.float32), name="turned")
    still = viewer.add_image(RNG.random((10, 12, 12), np.float32), name="at rest")
    panel = open_panel(viewer, "Train")
    source, stack, targets, model = (
        child(panel, f"equipose.train.{name}") for name in ("source", "stack", "targets", "model")
    )
    source.setCurrentText("boxes")
    stack.setCurrentText("turned")
    assert targets.isHidden() and targets.layer is None
    model.setCurrentText("mce-vae")
    assert not targets.isHidden()
    targets.value = still.unique_id
    pairs = "hidden=8 width=4 copies=1 steps_per_epoch=1"
    child(panel, "equipose.train.settings").setText(pairs)
    child(panel, "equipose.train.epochs").setValue(1)
    click(qtbot, panel, "equipose.train.start")
    wait(qtbot, panel, 300)
    assert messages() == []
    (path,) = home.glob("equipose/*.safetensors")
    saved = load_model(path)
    assert saved.model.config.invariance == "supervised"
    assert saved.record["source"]["targets"] == "at rest"
    kept = read_run(path.with_suffix(".run") / "run.json").targets
    np.testing.assert_array_equal(np.load(kept), still.data)
    model.setCurrentText("vae")
    assert panel.source.read().targets is None
