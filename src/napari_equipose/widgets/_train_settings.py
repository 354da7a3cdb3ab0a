"""The settings of a training run that have sensible defaults, as a form."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit, QPushButton, QSpinBox

from ..geometry import InputError
from ..training import Source, TrainingRun, check_kind
from ._forms import Choice, Form, PathField, named
from ._preferences import read_preferences
from ._system_choice import SystemChoice

_AS_PRESET = "as the preset"
_NAME = "equipose.train."
_PRESETS = {"paper": "paper (wants a GPU)"}
"""Texts of presets that are more than their names."""


def devices() -> dict[str, str]:
    """Devices that are there, by the text shown for each."""
    found = {"automatic": "auto", "processor (cpu)": "cpu"}
    for index in range(torch.cuda.device_count()):
        found[f"{torch.cuda.get_device_name(index)} (cuda:{index})"] = f"cuda:{index}"
    if torch.backends.mps.is_available():
        found["Apple GPU (mps)"] = "mps"
    return found


def device_choice(name: str) -> Choice:
    """Choice of the device to compute on; it begins with the one of the preferences."""
    known = devices()
    tip = "Where to compute. Automatic takes the fastest there is."
    if len(known) == 2:
        tip += " No GPU that torch can use was found on this computer."
    choice = named(Choice(known), name, tip)
    default = read_preferences().device
    choice.value = "cuda:0" if default == "cuda" else default
    return choice


class TrainSettings(Form):
    """What the preset, the network and its training can be told."""

    def __init__(self) -> None:
        super().__init__()
        self.model = named(
            SystemChoice(),
            f"{_NAME}model",
            "The system that learns. target-vae finds objects in images; the others learn from\n"
            "boxes of one object each. What can't learn from the source is greyed, and says why.",
        )
        self.polarity = named(
            Choice({"dark or bright": "either", "dark": "dark", "bright": "bright"}),
            f"{_NAME}polarity",
            "Are the objects darker or brighter than their surroundings?",
        )
        self.preset = named(
            Choice(),
            f"{_NAME}preset",
            "fast: minutes on any computer. balanced: a larger network, several times longer.\n"
            "paper: the network of the system's own paper, hours on a GPU.",
        )
        self.content_dim = named(
            whole(1, 256, 2),
            f"{_NAME}content_dim",
            "How many numbers describe what an object looks like, apart from its place and\n"
            "rotation. 2 can be plotted; objects of many kinds want more.",
        )
        self.epochs = named(
            whole(0, 100_000, 0, special=_AS_PRESET),
            f"{_NAME}epochs",
            "How often the network goes over the boxes, at most.",
        )
        self.minutes = named(
            QDoubleSpinBox(),
            f"{_NAME}minutes",
            "Time limit of training in minutes; the best model so far is kept. Finding\n"
            "objects and every stage of training count; the time while a run is stopped does not,\n"
            "nor does measuring the finished model at the end.",
        )
        self.minutes.setRange(0, 10_000)
        self.minutes.setDecimals(2)
        self.minutes.setSpecialValueText("no limit")
        self.minutes.setSuffix(" min")
        self.likelihood = named(
            Choice({"automatic": "auto", "continuous": "gaussian", "off or on": "bernoulli"}),
            f"{_NAME}likelihood",
            "What pixel values are: continuous, as in micrographs, or off and on, as in drawings.",
        )
        self.device = device_choice(f"{_NAME}device")
        self.seed = named(
            whole(0, 2**31 - 1, 0),
            f"{_NAME}seed",
            "The same number gives the same result again, on the processor.",
        )
        self.output = PathField(
            f"{_NAME}output",
            "Where the model goes (.safetensors). Left empty, a new name in the run folder,\n"
            "which is set under File > Preferences > Equipose.",
            "Model file",
            "Models (*.safetensors)",
        )
        self.others = named(
            QLineEdit(),
            f"{_NAME}settings",
            "Any other setting of the network or its training, as 'equipose train --set' takes\n"
            "them: name=value, separated by spaces. For example: n_rotations=16 batch_size=50",
        )
        self.others.setPlaceholderText("name=value …")
        self.save = named(
            QPushButton("Save …"),
            f"{_NAME}save_run",
            "Write all settings to a file, which 'equipose train --config' repeats.",
        )
        self.load = named(
            QPushButton("Load …"),
            f"{_NAME}load_run",
            "Take all settings from a file that was written here or by 'equipose train'.",
        )
        self._usual_content = self.content_dim.value()
        self.model.picked.connect(self._follow_model)
        self._follow_model()
        self.add("System", self.model)
        self.add("Objects are", self.polarity)
        self.add("Preset", self.preset)
        self.add("Content", self.content_dim)
        self.add("Epochs", self.epochs)
        self.add("Time limit", self.minutes)
        self.add("Pixels are", self.likelihood)
        self.add("Device", self.device)
        self.add("Seed", self.seed)
        self.add("Model file", self.output)
        self.add("Others", self.others)
        self.add("Settings", self.save, self.load)

    def offer_systems(self, source: Source, dimensions: int) -> None:
        """Offer the systems that can learn from a source, of images, 2, or volumes, 3."""
        self.model.offer_for(source, dimensions)

    def _follow_model(self) -> None:
        """Offer what the chosen system has; keep what was chosen where it has that too."""
        try:
            kind = check_kind(self.model.value)
        except InputError:  # it is greyed, and says why
            return
        before = self.preset.value
        self.preset.clear()
        for name in kind.presets:
            self.preset.addItem(_PRESETS.get(name, name), name)
        self.preset.value = before
        if self.content_dim.value() == self._usual_content:
            self.content_dim.setValue(kind.content_dim)
        self._usual_content = kind.content_dim
        known = "likelihood" not in kind.without
        self.likelihood.setEnabled(known)
        if not known:
            self.likelihood.value = "auto"

    def read(self) -> dict[str, Any]:
        """What is set, as keyword arguments of `TrainingRun`.

        Raises
        ------
        InputError
            If the line of other settings can't be read.
        """
        return {
            "model": self.model.value,
            "polarity": self.polarity.value,
            "preset": self.preset.value,
            "content_dim": self.content_dim.value(),
            "epochs": self.epochs.value() or None,
            "minutes": self.minutes.value() or None,
            "likelihood": self.likelihood.value,
            "device": self.device.value,
            "seed": self.seed.value(),
            "settings": read_pairs(self.others.text()),
        }

    def show_run(self, run: TrainingRun) -> None:
        """Set the form as a run has it."""
        for choice in ("model", "polarity", "preset", "likelihood", "device"):
            getattr(self, choice).value = getattr(run, choice)
        for number in ("content_dim", "epochs", "minutes", "seed"):
            getattr(self, number).setValue(getattr(run, number) or 0)
        self.output.line.setText(run.output)
        self.others.setText(_write_pairs(run.settings))


def whole(low: int, high: int, value: int, special: str = "") -> QSpinBox:
    """Make a control of a whole number; ``special`` stands in place of the least."""
    spin = QSpinBox()
    spin.setRange(low, high)
    spin.setValue(value)
    spin.setSpecialValueText(special)
    return spin


def read_pairs(text: str) -> dict[str, str]:
    """Read settings as a person types them: ``name=value``, separated by spaces.

    Raises
    ------
    InputError
        If a part is no such pair.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, re.split(r"[\s,;]+", text)):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise InputError(f"other settings are name=value, separated by spaces; got {part!r}.")
        pairs[name] = value
    return pairs


def _write_pairs(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())
