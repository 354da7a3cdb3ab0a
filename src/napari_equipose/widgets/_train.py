"""The Train panel: choose pixels and a size, press Learn, and watch."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QPushButton, QToolButton

from ..geometry import InputError
from ..inference import Progress
from ..models import SavedModel, choose_device, load_model, model_kind
from ..training import (
    NEXT_STEPS,
    Hypothesis,
    PreparedRun,
    RunFolder,
    TrainingRun,
    UnfinishedRun,
    check_kind,
    read_run,
    unfinished_run,
    unfinished_runs,
    write_run,
)
from ._examples_form import ExamplesForm
from ._forms import Fold
from ._hypotheses_view import HypothesesView
from ._layers import Plane, box_points
from ._learning import LearningView, count_boxes
from ._models import shelf
from ._panel import Panel, new_model_path, short, user_folder
from ._preferences import read_preferences
from ._train_job import Order, Source, learn, prepare, preview
from ._train_runs import RunMenu, ask_whether_to_forget
from ._train_settings import TrainSettings
from ._train_source import SourceForm
from ._worker import Ending, job_threads

if TYPE_CHECKING:
    import napari

_RUN_FILES = "Run files (*.json)"
_MENU_ARROW = 40  # pixels, with the margins of the button


class TrainWidget(Panel):
    """Learn what the objects of an image look like, without labels.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered.
    """

    page = "tutorial-first-objects.md#2-say-how-big-the-objects-are"

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        super().__init__(viewer, "train", "Learning")
        self._order: Order | None = None
        self._after: Callable[[Ending], None] | None = None  # takes what a look comes to
        self._previewed: Plane | None = None
        self.source = SourceForm(viewer)
        self.examples = ExamplesForm(viewer, self.source)
        self.hypotheses = HypothesesView()
        self.settings = TrainSettings()
        self.resume = self.named(
            QToolButton(),
            "resume",
            "Go on with the run that was stopped last. The arrow lists all that are not done,\n"
            "also those of earlier sessions, to go on with one or to forget it.",
        )
        self.resume.setText("Resume")
        self.resume.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        self.runs = self.named(RunMenu(self.resume), "runs", "Runs that are not done.")
        self.resume.setMenu(self.runs)
        # napari's style leaves the arrow of the menu out of the size that the text asks for
        width = self.resume.fontMetrics().horizontalAdvance(self.resume.text())
        self.resume.setMinimumWidth(width + _MENU_ARROW)
        self.next = self.named(QPushButton("Detect with it …"), "detect", "Open the panel Detect.")
        self.learning = LearningView("train")
        self.curve, self.pictures = self.learning.curve, self.learning.pictures
        self.preview = self.named(
            QPushButton("Preview"),
            "preview",
            "Preview objects: show what recurs in the image, before anything is trained, to\n"
            "choose which of it your objects are.",
        )
        tip = "Point out a few of your objects, where the wrong ones are found without."
        self.show_me = Fold("Show me one", self.examples, "equipose.train.show_me", tip)
        self.body.addWidget(self.source)
        self.body.addWidget(self.show_me)
        self.add_controls("Learn", "Learn what they look like.", self.preview, self.resume)
        tip = "Settings that are good as they are for most images."
        fold = Fold("More settings", self.settings, "equipose.train.more", tip)
        for widget in (self.next, self.hypotheses, self.learning, fold):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.next.hide()
        self.start.clicked.connect(self._learn)
        self.resume.clicked.connect(self._resume)
        self.runs.chosen.connect(lambda run: self.resume_run(run.folder))
        self.runs.unwanted.connect(self._ask_whether_to_forget)
        self.next.clicked.connect(self._open_detect)
        self.source.draw.clicked.connect(self._draw_box)
        self.source.show_boxes.clicked.connect(self._show_boxes)
        self.preview.clicked.connect(self._preview)
        self.hypotheses.chosen.connect(self._choose)
        for form in (self.source, self.examples):
            form.hinted.connect(self.status.setText)
        self.source.changed.connect(self._offer_systems)
        self.source.changed.connect(self._offer_preview)
        self.settings.model.picked.connect(self._offer_targets)
        self.settings.output.line.textChanged.connect(self.offer)
        self.settings.save.clicked.connect(self._ask_where_to_save)
        self.settings.load.clicked.connect(self._ask_what_to_load)
        self.status.setText("Give the size of a box around one object, then press Learn.")
        self._offer_systems()
        self._offer_preview()
        self.offer()

    def read_run(self) -> TrainingRun:
        """The settings in the form, as a run file has them.

        Raises
        ------
        InputError
            If a setting can't be read.
        """
        boxes, layer = self.source.kind.value == "stack", self.source.layer
        size = None if boxes else self.source.box_size.value()
        path = None if layer is None else layer.source.path
        images = (str(path),) if path else ()
        targets = self.source.targets_layer
        at_rest = None if targets is None else targets.source.path
        return TrainingRun(
            images=images, targets=str(at_rest or ""), box_size=size, **self.settings.read()
        )

    def save_run(self, path: Path) -> None:
        """Write the settings in the form as a run file."""
        try:
            output = self.settings.output.path
            write_run(path, replace(self.read_run(), output=str(output or "")))
        except Exception as error:
            self.refuse(error)
        else:
            self.say(f"Settings written to {short(path)}")

    def load_run(self, path: Path) -> None:
        """Set the form as a run file has it; the layers stay as they are chosen."""
        try:
            run = read_run(path)
        except Exception as error:
            self.refuse(error)
            return
        self.settings.show_run(run)
        if run.box_size is not None:
            self.source.box_size.setValue(run.box_size)
        self.status.setText(f"Settings of {short(path)}")

    def _offer_systems(self) -> None:
        self.settings.offer_systems(self.source.kind.value, self.source.dimensions)
        self._offer_targets()

    def _offer_preview(self) -> None:
        """Offer to show examples and answers where objects are looked for; old answers go."""
        for part in (self.show_me, self.preview):
            part.setVisible(self.source.kind.value == "image")
        self.hypotheses.clear()

    def _read_source(self) -> Source:
        """Take a snapshot of what is chosen, with the examples of it."""
        source = self.source.read()
        if self.source.kind.value == "image" and source.plane is not None:
            return source._replace(examples=self.examples.read(source.plane))
        return source

    def _offer_targets(self) -> None:
        self.source.offer_targets("targets" not in check_kind(self.settings.model.value).without)

    def _ask_where_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the settings", "", _RUN_FILES)
        if path:
            self.save_run(Path(path))

    def _ask_what_to_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load settings", "", _RUN_FILES)
        if path:
            self.load_run(Path(path))

    def _learn(self) -> None:
        try:
            order = self._new_order(self.settings.output.path)
            if order.output.exists():
                raise InputError(
                    f"{order.output} exists; give another name, or none for a new one."
                )
            if unfinished_run(RunFolder.of(order.output)):
                raise InputError(
                    f"a run that writes {order.output} is not done: press Resume to go on with it, "
                    "or give another name."
                )
        except Exception as error:
            self.refuse(error)
            return
        self.learning.clear_curve()
        self._begin(order)

    def _resume(self) -> None:
        run = self._run_to_resume()
        if run is not None:
            self.resume_run(run.folder)

    def resume_run(self, folder: RunFolder, *, device: str | None = None) -> None:
        """Go on with the run of a folder, on another device if one is given."""
        try:
            run = read_run(folder.run_file)
            if device is not None:
                run = replace(run, device=device)
                write_run(folder.run_file, run)
        except Exception as error:
            self.refuse(error)
            return
        self._begin(Order(run=run, output=folder.model, own_process=self._own_process))

    def run_on_cpu(self) -> None:
        """Go on, on the processor, with the run for which memory ran out."""
        assert self._order is not None
        self.resume_run(RunFolder.of(self._order.output), device="cpu")

    @property
    def is_on_gpu(self) -> bool:
        """Whether the run is on another device than the processor."""
        return self._order is not None and choose_device(self._order.run.device).type != "cpu"

    @property
    def _own_process(self) -> bool:
        return read_preferences().own_process

    def _run_to_resume(self) -> UnfinishedRun | None:
        """The run that is meant: by the form, else the last of this session, else the latest."""
        paths = [self.settings.output.path]
        if self._order is not None and unfinished_run(RunFolder.of(self._order.output)):
            paths.append(self._order.output)
        path = next((path for path in paths if path is not None), None)
        runs = unfinished_runs(user_folder())
        if path is not None:
            run = unfinished_run(RunFolder.of(path))
            runs = [] if run is None else [run]
        return next((run for run in runs if run.can_resume), None)

    def _ask_whether_to_forget(self, run: UnfinishedRun) -> None:
        ask_whether_to_forget(run, self, lambda: self.forget_run(run.folder))

    def forget_run(self, folder: RunFolder) -> None:
        """Take a run from the list of those that are not done."""
        try:
            folder.give_up()
        except Exception as error:
            self.refuse(error)
        else:
            self.status.setText(f"The run {folder.model.stem} is forgotten.")
        self.offer()

    def _new_order(self, output: Path | None) -> Order:
        source = self._read_source()
        output = output or new_model_path(source.name)
        if output.suffix != ".safetensors":
            raise InputError(f"the model file must end in .safetensors; got {output.name}.")
        run = replace(self.read_run(), output=str(output), threads=job_threads())
        return Order(run=run, source=source, output=output, own_process=self._own_process)

    def _begin(self, order: Order) -> None:
        self._order = order
        output, source = order.output, order.source

        def best_so_far() -> SavedModel | None:
            return load_model(output) if output.is_file() else None

        self.next.hide()
        self.hypotheses.clear()
        self.learning.begin(source.plane.note if source and source.plane else "")
        self.run_job(order.title, learn(order, self.pictures.COLUMNS), best_so_far)

    def _draw_box(self) -> None:
        try:
            self.source.draw_box()
        except Exception as error:
            self.refuse(error)

    def _show_boxes(self) -> None:
        try:
            source = self._read_source()
            run = self.read_run()
        except Exception as error:
            self.refuse(error)
            return
        self._after = partial(self._add_boxes, source)
        self.run_job("Looking for objects", prepare(run, source))

    def _preview(self) -> None:
        try:
            source = self.source.read()
            run = self.read_run()
        except Exception as error:
            self.refuse(error)
            return
        self.hypotheses.clear()
        self._after = partial(self._show_hypotheses, source)
        self.run_job("Looking for what recurs", preview(run, source))

    def _show_hypotheses(self, source: Source, ending: Ending) -> None:
        """Show what the objects may be, or what to do where nothing recurs."""
        if ending.state == "done":
            self._previewed = source.plane
            self.hypotheses.show_hypotheses(ending.result)
            self.show_progress(0, "Choose your objects, or press Learn.")
        elif ending.state == "stopped":
            self.show_progress(0, "Stopped: there is no preview.")
        elif ending.expected and not ending.memory:
            self.show_progress(0, f"{ending.message}\n{NEXT_STEPS}")
            self.show_me.button.setChecked(True)

    def _choose(self, hypothesis: Hypothesis) -> None:
        """Take the objects of an answer as examples."""
        assert self._previewed is not None
        self.settings.polarity.value = hypothesis.polarity
        self.examples.fill(self._previewed, hypothesis.positions)
        self.show_me.button.setChecked(True)
        self.status.setText("These are the examples now. Delete wrong ones, or press Learn.")

    def _open_detect(self) -> None:
        self.viewer.window.add_plugin_dock_widget("napari-equipose", "Detect", tabify=True)

    def show_report(self, report: Any) -> None:
        """Show how far the run is and what it has learned."""
        shown = self.learning.take(report)
        if shown is not None:
            self.show_progress(*shown)
        elif isinstance(report, Progress):
            self.status.setText(f"{report.message.capitalize()} …")

    def show_end(self, ending: Ending) -> None:
        """Offer the model to the other panels, and say what there is."""
        take, self._after = self._after, None
        if take is not None:
            take(ending)
            return
        assert self._order is not None
        output, saved = self._order.output, ending.result
        where = f"Saved as {short(output)}"
        name = shelf.put(saved, output) if isinstance(saved, SavedModel) else None
        can_find = name is not None and bool(
            model_kind(saved.kind).finds_in & saved.model.capabilities.dimensions
        )
        self.next.setVisible(can_find and hasattr(self.viewer, "window"))
        if ending.state == "done":
            self.show_progress(1, f"Done: the model {name} is ready.\n{where}")
        elif ending.state == "stopped" and name:
            after = " ".join(filter(None, ("Stopped", self.learning.stopped)))
            self.status.setText(f"{after}. The best model so far, {name}, is ready.\n{where}")
        elif ending.state == "stopped":
            self.show_progress(0, "Stopped before the first epoch ended: there is no model yet.")
        elif name:
            self.status.setText(f"{self.status.text()}\nThe best model so far is {name}.")
        self.offer()

    def _add_boxes(self, source: Source, ending: Ending) -> None:
        """Show the boxes that were found as points."""
        prepared = ending.result
        if not isinstance(prepared, PreparedRun) or source.plane is None:
            if ending.state != "failed":
                self.show_progress(0, "")
            return
        size = self.source.box_size.value()
        self.viewer.add_layer(box_points(source.plane, prepared.positions[0], size))
        boxes = count_boxes(len(prepared.boxes), source.plane.note)
        self.show_progress(0, f"{boxes}, a few of them drawn.")

    def offer(self) -> None:
        """Offer to resume where there is a run that is not done."""
        self.resume.setEnabled(not self.is_running and self._run_to_resume() is not None)

    def set_running(self, running: bool) -> None:
        """Let only one run at a time be started."""
        super().set_running(running)
        for part in (self.source, self.examples, self.preview, self.hypotheses):
            part.setEnabled(not running)
        self.settings.setEnabled(not running)
        self.runs.busy = running
        self.offer()

    def detach(self) -> None:
        """Let go of the viewer: the panel was closed."""
        super().detach()
        self.source.detach()
        self.examples.detach()
