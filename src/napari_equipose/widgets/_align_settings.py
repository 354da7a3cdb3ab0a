"""How particles are aligned, and how a model of them is trained: forms of the Align panel."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLineEdit

from ..geometry import InputError, MissingWedge
from ..inference import AlignConfig, RefinementConfig
from ..training import HarmonyPreset, TrainingRun, harmony_preset
from ._forms import Choice, Form, named
from ._train_settings import device_choice, read_pairs, whole

_NAME = "equipose.align."
_RANGES = (
    *("rotation_range", "translation_range", "scale_range"),
    *("contrast_range", "brightness_range"),
)
_TRANSFORMATIONS = {
    "rotation": "Objects lie turned in their boxes.",
    "translation": "Objects lie off the middle of their boxes.",
    "scale": "Objects are of different sizes, by a factor of up to 1.3.",
    "contrast": "Objects are brighter and fainter, by a factor of up to 2.",
}
_PRESETS = {"paper": "paper (wants a GPU)"}
_SYMMETRIES = [
    *(f"C{n}" for n in range(1, 18)),
    *(f"D{n}" for n in range(2, 10)),
    *("T", "O", "I"),
]


class ModelForm(Form):
    """What a model that is trained here infers, and for how long it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.infers = {
            name: named(QCheckBox(name), f"{_NAME}infer_{name}", f"{tip} To be inferred.")
            for name, tip in _TRANSFORMATIONS.items()
        }
        for name in ("rotation", "translation"):
            self.infers[name].setChecked(True)
        names = {_PRESETS.get(name, name): name for name in get_args(HarmonyPreset)}
        self.preset = named(
            Choice(names),
            f"{_NAME}preset",
            "fast: minutes on any computer. paper: as in the Harmony paper, hours on a GPU.",
        )
        self.minutes = named(
            QDoubleSpinBox(),
            f"{_NAME}minutes",
            "End learning after so many minutes, with the best model so far, and align then.",
        )
        self.minutes.setRange(0, 10_000)
        self.minutes.setDecimals(2)
        self.minutes.setSpecialValueText("no limit")
        self.minutes.setSuffix(" min")
        boxes = list(self.infers.values())
        self.add("Infer", *boxes[:2])
        self.add("", *boxes[2:])
        self.add("Preset", self.preset)
        self.add("Time limit", self.minutes)

    def settings_of_model(self, **given: Any) -> dict[str, Any]:
        """Fields of Harmony's configuration that follow from what is to be inferred.

        Raises
        ------
        InputError
            If nothing is to be inferred.
        """
        chosen = [name for name, box in self.infers.items() if box.isChecked()]
        if not chosen:
            raise InputError(
                f"there is nothing to infer: tick at least one of {', '.join(self.infers)}."
            )
        usual, _ = harmony_preset(self.preset.value, **given)
        wanted, _ = harmony_preset(self.preset.value, transformations=chosen, **given)
        return {
            name: getattr(wanted, name)
            for name in _RANGES
            if getattr(wanted, name) != getattr(usual, name)
        }


class WedgeForm(Form):
    """The tilt range of a tomogram's tilt series."""

    def __init__(self) -> None:
        super().__init__()
        self.axis = named(
            Choice({"no missing wedge": None, "tilted about y": "y", "tilted about x": "x"}),
            f"{_NAME}tilt_axis",
            "Tomograms of a tilt series lack a wedge of their Fourier transform; what was not\n"
            "measured is then neither compared nor averaged.",
        )
        self.low, self.high = (
            named(_angle(value), f"{_NAME}tilt_{end}", f"{word} tilt angle of the series.")
            for end, word, value in (("min", "Least", -60), ("max", "Largest", 60))
        )
        self.add("Tilt series", self.axis)
        self._range = self.add("Tilt range", self.low, self.high)
        self.axis.currentIndexChanged.connect(self._show_range)
        self._show_range()

    def _show_range(self) -> None:
        self.show_row(self._range, self.axis.value is not None)

    def read(self) -> MissingWedge | None:
        """What the tilt series measured; None where all was.

        Raises
        ------
        InputError
            If the range is none.
        """
        if self.axis.value is None:
            return None
        return MissingWedge.of_range(self.low.value(), self.high.value(), self.axis.value)

    def show_range(self, about: Mapping[str, Any]) -> None:
        """Take what the metadata of a layer say."""
        if about.get("tilt_min") is None or about.get("tilt_max") is None:
            return
        self.axis.value = about.get("tilt_axis", "y")
        self.low.setValue(float(about["tilt_min"]))
        self.high.setValue(float(about["tilt_max"]))


class AlignSettings(Form):
    """What can be told of aligning; good as it is for most particles."""

    def __init__(self) -> None:
        super().__init__()
        numbers: dict[str, Any] = {str(k): k for k in range(2, 21)}
        self.classes = named(
            Choice({"none": None, "automatic": "auto", **numbers}),
            f"{_NAME}classes",
            "Sort the particles into so many classes by what they look like; each is aligned\n"
            "and averaged on its own.",
        )
        self.refine = named(
            QCheckBox("improve the poses"),
            f"{_NAME}refine",
            "Of volumes against the averages of two halves that are kept apart, of images by what\n"
            "the model draws. Else the poses are those that the model infers.",
        )
        self.refine.setChecked(True)
        self.search = named(
            Choice(
                {"automatic": "auto", "everywhere": "everywhere", "near the model's poses": "local"}
            ),
            f"{_NAME}search",
            "Try all rotations first, or only those near the poses found by the model, which is\n"
            "quicker. Automatic: near them where the model began with structures it searched for.",
        )
        self.symmetry = named(
            Choice({name: name for name in _SYMMETRIES}),
            f"{_NAME}symmetry",
            "Imposed on the averages; the axis of C and D is z. C1 is none.",
        )
        self.iterations = named(
            whole(1, 50, 6), f"{_NAME}iterations", "How often poses and averages are improved."
        )
        self.content_dim = named(
            whole(1, 256, 1),
            f"{_NAME}content_dim",
            "How many numbers describe what an object looks like, apart from its pose. Of a\n"
            "model that is trained here.",
        )
        self.epochs = named(
            whole(0, 100_000, 0, special="as the preset"),
            f"{_NAME}epochs",
            "How often a model that is trained here goes over the boxes, at most.",
        )
        self.others = named(
            QLineEdit(),
            f"{_NAME}settings",
            "Any other setting of the network or its training, as 'equipose train --set' takes\n"
            "them: name=value, separated by spaces. For example: gamma=10 batch_size=8",
        )
        self.others.setPlaceholderText("name=value …")
        self.device = device_choice(f"{_NAME}device")
        self.seed = named(
            whole(0, 2**31 - 1, 0),
            f"{_NAME}seed",
            "The same number gives the same result again, on the processor.",
        )
        self.add("Classes", self.classes)
        self.add("Refine", self.refine)
        self._of_volumes = [
            self.add("Search", self.search),
            self.add("Symmetry", self.symmetry),
            self.add("Iterations", self.iterations),
        ]
        self._of_training = [
            self.add("Content", self.content_dim),
            self.add("Epochs", self.epochs),
            self.add("Others", self.others),
        ]
        self.add("Device", self.device)
        self.add("Seed", self.seed)

    def show_rows(self, *, volumes: bool, training: bool) -> None:
        """Show what has a meaning for the particles and the model that are chosen."""
        for rows, shown in ((self._of_volumes, volumes), (self._of_training, training)):
            for row in rows:
                self.show_row(row, shown)

    def read(self, *, volumes: bool) -> AlignConfig:
        """How to align.

        Raises
        ------
        InputError
            If a setting can't be.
        """
        refinement = RefinementConfig(seed=self.seed.value())
        if volumes:
            refinement = RefinementConfig(
                seed=self.seed.value(),
                iterations=self.iterations.value(),
                symmetry=self.symmetry.value,
            )
        return AlignConfig(
            refine=self.refine.isChecked(),
            search=self.search.value if volumes else "auto",
            classes=self.classes.value,
            refinement=refinement,
        )

    def read_run(self, model: ModelForm, wedge: MissingWedge | None, **images: Any) -> TrainingRun:
        """How to train, refusing what can't be before anything is written.

        Raises
        ------
        InputError
            If a setting can't be.
        """
        given = {name: images[name] for name in ("box_size", "dimensions", "channels")}
        settings = model.settings_of_model(**given)
        if wedge is not None:
            settings |= {
                "tilt_min_deg": wedge.tilt_min_deg,
                "tilt_max_deg": wedge.tilt_max_deg,
                "tilt_axis": wedge.tilt_axis,
            }
        run = TrainingRun(
            model="harmony",
            preset=model.preset.value,
            content_dim=self.content_dim.value(),
            epochs=self.epochs.value() or None,
            minutes=model.minutes.value() or None,
            seed=self.seed.value(),
            device=self.device.value,
            settings=settings | read_pairs(self.others.text()),
        )
        run.configurations(likelihood="gaussian", **images)
        return run


def record_of(config: AlignConfig, wedge: MissingWedge | None) -> dict[str, Any]:
    """Settings as plain JSON, for the metadata of layers."""
    return {"config": asdict(config), "wedge": None if wedge is None else asdict(wedge)}


def _angle(value: float) -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(-90, 90)
    spin.setDecimals(1)
    spin.setValue(value)
    spin.setSuffix("°")
    return spin
