"""Classes of the objects: sorted by the content, made by hand, listed; a part of the panel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from .._colors import class_rgba
from ..geometry import InputError
from ..inference import ClassAverage
from ._class_table import ClassRow, ClassTable
from ._forms import Choice, Form, named
from ._icons import colour_icon
from ._latent_actions import averages_of
from ._latent_job import Lying, average_classes, sort
from ._latent_state import NO_CLASS
from ._object_edits import record_of

_NAME = "equipose.latent."
_NEW = "new"


class ClassesPart(QWidget):
    """How objects are sorted, and a table of the classes.

    Parameters
    ----------
    panel : LatentWidget
        Whose state, source and jobs are used.
    """

    def __init__(self, panel: Any) -> None:
        super().__init__()
        self._panel, self._state, self._source = panel, panel.state, panel.source
        self._averages: dict[int, tuple[NDArray[np.bool_], ClassAverage]] = {}
        self._build_sorting()
        self._build_table()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self._form, self.table, self._of_classes):
            layout.addWidget(widget)
        for signal in (self._state.rows_changed, self._state.features_changed):
            signal.connect(self.refresh)
        self._state.selection_changed.connect(self._on_selection)
        self._source.changed.connect(self._offer_methods)
        self._offer_methods()
        self.refresh()

    def _build_sorting(self) -> None:
        self.method = named(
            Choice(),
            f"{_NAME}method",
            "How objects are sorted by their content:\n"
            "Ward's method joins what is alike, step by step, as in the TARGET-VAE paper;\n"
            "k-means makes round classes of like size; mixtures of Gaussians make stretched ones;\n"
            "HDBSCAN finds dense groups, and leaves what lies between them in no class.",
        )
        numbers: dict[str, Any] = {str(k): k for k in range(2, 31)}
        self.number = named(
            Choice({"as suggested": "auto", **numbers}),
            f"{_NAME}classes",
            "How many classes; as suggested, so many as mixtures of Gaussians need to explain the\n"
            "content, by the Bayesian information criterion.",
        )
        self.sort = named(
            QPushButton("Sort"),
            f"{_NAME}sort",
            "Sort all objects that are shown into classes, and write them to the layer's features.",
        )
        self.into = named(Choice(), f"{_NAME}into", "The class that selected objects are put into.")
        self.put = named(
            QPushButton("Put selection into"),
            f"{_NAME}put",
            "Make a class of the objects that are selected, or put them into one that is there.",
        )
        self._form = Form()
        self._form.add("Method", self.method)
        self._number_row = self._form.add("Classes", self.number, self.sort)
        self._form.add("By hand", self.into, self.put)
        self.method.currentIndexChanged.connect(self._on_method)
        self.sort.clicked.connect(self._sort)
        self.put.clicked.connect(self._put)

    def _build_table(self) -> None:
        self.table = named(
            ClassTable(),
            f"{_NAME}table",
            "The classes: click one to select its objects, Ctrl or Shift for several. A double\n"
            "click on a number gives the class another; that of another class joins the two.\n"
            "Detail is where the averages of two halves of a class cease to agree (0.143);\n"
            "both halves share the model, so it is optimistic.",
        )
        self.merge = named(
            QPushButton("Join"), f"{_NAME}merge", "Make one class of those chosen in the table."
        )
        self.average = named(
            QPushButton("Averages"),
            f"{_NAME}averages",
            "Average each class at rest, and say up to which detail its halves agree.",
        )
        self.as_layer = named(
            QPushButton("As layer"),
            f"{_NAME}averages_layer",
            "Add an image layer of the averages, one after another.",
        )
        self._of_classes = QWidget()
        row = QHBoxLayout(self._of_classes)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.merge, self.average, self.as_layer):
            row.addWidget(button)
        self.table.chosen_changed.connect(self._on_row)
        self.table.renamed.connect(
            lambda old, new: self._rename([old], new, f"Class {old} becomes {new}")
        )
        self.merge.clicked.connect(self._merge)
        self.average.clicked.connect(self._average)
        self.as_layer.clicked.connect(self._add_layer)

    def _offer_methods(self) -> None:
        """Offer the categories of a model that has its own."""
        saved, chosen = self._source.saved, self.method.value
        own = saved is not None and saved.model.capabilities.clusters
        self.method.blockSignals(True)
        self.method.clear()
        entries = {"Ward": "ward", "k-means": "k-means", "mixture of Gaussians": "mixture"}
        entries["HDBSCAN"] = "hdbscan"
        if own:
            entries = {"the model's own categories": "own"} | entries
        for text, value in entries.items():
            self.method.addItem(text, value)
        self.method.value = chosen
        self.method.blockSignals(False)
        self._on_method()

    def _on_method(self) -> None:
        self.number.setEnabled(self.method.value not in ("own", "hdbscan"))

    def _sort(self) -> None:
        state, shown = self._state, np.array(self._state.shown)
        content = np.where(shown[:, None], state.content, np.nan)
        work = sort(content, self.number.value, self.method.value, self._source.saved)
        self._panel.do("Sorting into classes", work, self._show_sorted)

    def _show_sorted(self, labels: NDArray[np.int64]) -> None:
        k = len(np.unique(labels[labels != NO_CLASS]))
        self._state.set_classes(labels, f"Sort into {k} classes")
        self._panel.show_progress(1, f"{k} classes of {int((labels != NO_CLASS).sum())} objects.")

    def _put(self) -> None:
        """Put the selection into a class."""
        selected, labels = self._state.selected, self._state.classes.copy()
        if not selected.any():
            self._panel.refuse(InputError("no object is selected; draw a lasso around some first."))
            return
        label = self.into.value
        if label == _NEW:
            label = int(np.setdiff1d(np.arange(len(labels) + 1), labels)[0])
        labels[selected] = label
        what = "no class" if label == NO_CLASS else f"class {label}"
        self._state.set_classes(labels, f"Put {int(selected.sum())} objects into {what}")

    def _merge(self) -> None:
        chosen = self.table.chosen
        if len(chosen) < 2:
            self._panel.refuse(InputError("choose two or more classes in the table to join them."))
            return
        self._rename(chosen, min(chosen), f"Join classes {', '.join(map(str, sorted(chosen)))}")

    def _rename(self, old: list[int], new: int, title: str) -> None:
        labels = self._state.classes.copy()
        labels[np.isin(labels, old)] = new
        self._state.set_classes(labels, title)

    def _on_row(self) -> None:
        """Select the objects of the classes that are chosen."""
        chosen = self.table.chosen
        if chosen:
            names = ", ".join("none" if one == NO_CLASS else str(one) for one in chosen)
            self._state.select(self._of(chosen), "replace", f"Class {names}")

    def _of(self, names: list[int]) -> NDArray[np.bool_]:
        """Objects of some classes that are shown."""
        return np.asarray(np.isin(self._state.classes, names) & self._state.shown, bool)

    def _on_selection(self) -> None:
        """Choose no class where the selection is not what is in those that are chosen."""
        chosen = self.table.chosen
        if chosen and not np.array_equal(self._of(chosen), self._state.selected):
            self.table.choose_none()

    def refresh(self) -> None:
        """List the classes of what is shown."""
        shown = self._state.shown
        names, member, counts = np.unique(
            self._state.classes[shown], return_inverse=True, return_counts=True
        )
        self._averages = {
            name: (mask, one)
            for name, (mask, one) in self._averages.items()
            if np.array_equal(mask, self._of([name]))
        }
        some = bool((names != NO_CLASS).any())
        if some:
            scores = self._mean_scores(shown, member, counts)
            every = zip(names.tolist(), counts.tolist(), scores.tolist(), strict=True)
            self.table.show_rows([self._row(*one) for one in every])
        else:
            self.table.show_rows([])
        self._offer_classes([name for name in names.tolist() if name != NO_CLASS])
        self._of_classes.setEnabled(some)
        self.as_layer.setEnabled(bool(self._averages))

    def _mean_scores(
        self, shown: NDArray[np.bool_], member: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Mean score of each class; nan where that of an object is not known."""
        features = self._state.features
        if "score" not in features:
            return np.full(len(counts), np.nan)
        score = features["score"].to_numpy(np.float64, na_value=np.nan)[shown]
        return np.asarray(np.bincount(member, score) / counts, np.float64)

    def _row(self, name: int, count: int, score: float) -> ClassRow:
        if name not in self._averages:
            return ClassRow(name, count, score, "", None)
        _, found = self._averages[name]
        length, unit = self._source.voxel
        detail = found.correlation.resolution() * length
        text = f"{detail:.3g} {unit}" if np.isfinite(detail) else "none"
        return ClassRow(name, count, score, text, found.average)

    def _offer_classes(self, names: list[int]) -> None:
        chosen = self.into.value
        self.into.blockSignals(True)
        self.into.clear()
        self.into.addItem("a new class", _NEW)
        for name in names:
            self.into.addItem(colour_icon(class_rgba([name])[0]), f"class {name}", name)
        self.into.addItem("no class", NO_CLASS)
        self.into.value = chosen
        self.into.blockSignals(False)

    def _average(self) -> None:
        labels = np.where(self._state.shown, self._state.classes, NO_CLASS)
        rows = np.flatnonzero(labels != NO_CLASS)
        try:
            lying = Lying.of(self._source, rows)
        except Exception as error:
            self._panel.refuse(error)
            return

        def show(found: list[ClassAverage]) -> None:
            self._averages = {one.label: (labels == one.label, one) for one in found}
            self.refresh()
            self._panel.show_progress(1, f"{len(found)} averages.")

        self._panel.do("Averaging the classes", average_classes(lying, labels[rows]), show)

    def _add_layer(self) -> None:
        layer = self._state.layer
        found = [one for _, one in self._averages.values()]
        if layer is not None and found:
            name = f"{layer.name}, averages"
            made = averages_of(found, self._source.voxel, name, record_of(layer))
            self._panel.viewer.add_layer(made)
