"""How particles are aligned, and how a model of them is trained: forms of the Align panel."""

from dataclasses import asdict
from typing import Any, get_args

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLineEdit

from ..geometry import InputError, MissingWedge
from ..inference import AlignConfig, RefinementConfig
from ..training import HarmonyPreset, TrainingRun, harmony_preset
from ._forms import Choice, Form, named
from ._train_settings import device_choice, read_pairs, whole
from ._wedge_form import Wedges, record_of_wedge

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
            "Time limit of training in minutes; the best model so far is used to align. The\n"
            "search for structures counts; the alignment that follows does not.",
        )
        self.minutes.setRange(0, 10_000)
        self.minutes.setDecimals(2)
        self.minutes.setSpecialValueText("no limit")
        self.minutes.setSuffix(" min")
        boxes = list(self.infers.values())
        self.add("Infer", *boxes[:2])
        self.add("", *boxes[2:])
        self.add("Preset", self.preset)
        self.add("Limit of learning", self.minutes)

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


def record_of(config: AlignConfig, wedge: Wedges) -> dict[str, Any]:
    """Settings as plain JSON, for the metadata of layers."""
    return {"config": asdict(config), "wedge": record_of_wedge(wedge)}
