"""The Train panel: choose pixels and a size, press Learn, and watch."""

import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QPushButton, QToolButton

from ..geometry import InputError
from ..inference import Progress
from ..models import SavedModel, choose_device, load_model
from ..training import (
    EpochReport,
    PreparedRun,
    RunFolder,
    Started,
    StepReport,
    TrainingRun,
    UnfinishedRun,
    read_run,
    unfinished_run,
    unfinished_runs,
    write_run,
)
from ._forms import Fold
from ._layers import box_points
from ._models import shelf
from ._panel import Panel, short, user_folder
from ._pictures import LossCurve, PictureRows
from ._preferences import read_preferences
from ._train_job import Order, Pictures, Source, learn, prepare, time_left
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
        self._looking: Source | None = None
        self._started: Started | None = None
        self._epoch = 0
        self._new_round = False
        self.source = SourceForm(viewer)
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
        self.curve = self.named(
            LossCurve(),
            "curve",
            "How well the boxes are explained, in nats per box; lower is better. When the curve\n"
            "of boxes held out levels off, there is little more to learn. The dot is the model\n"
            "that is kept.",
        )
        self.pictures = self.named(PictureRows(), "pictures", "What the model has learned.")
        self.body.addWidget(self.source)
        self.add_controls("Learn", "Learn what the objects look like.", self.resume)
        more = "Settings that are good as they are for most images."
        fold = Fold("More settings", self.settings, "equipose.train.more", more)
        for widget in (self.next, self.curve, self.pictures, fold):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        for widget in (self.next, self.curve, self.pictures):
            widget.hide()
        self.start.clicked.connect(self._learn)
        self.resume.clicked.connect(self._resume)
        self.runs.chosen.connect(lambda run: self.resume_run(run.folder))
        self.runs.unwanted.connect(self._ask_whether_to_forget)
        self.next.clicked.connect(self._open_detect)
        self.source.draw.clicked.connect(self._draw_box)
        self.source.show_boxes.clicked.connect(self._show_boxes)
        self.source.hinted.connect(self.status.setText)
        self.settings.output.line.textChanged.connect(self.offer)
        self.settings.save.clicked.connect(self._ask_where_to_save)
        self.settings.load.clicked.connect(self._ask_what_to_load)
        self.status.setText("Give the size of a box around one object, then press Learn.")
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
        return TrainingRun(images=images, box_size=size, **self.settings.read())

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
        except Exception as error:
            self.refuse(error)
            return
        self.curve.clear_all()
        self.curve.last_epoch = 0
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
        source = self.source.read()
        output = output or _new_name(source.name)
        if output.suffix != ".safetensors":
            raise InputError(f"the model file must end in .safetensors; got {output.name}.")
        run = replace(self.read_run(), output=str(output), threads=job_threads())
        return Order(run=run, source=source, output=output, own_process=self._own_process)

    def _begin(self, order: Order) -> None:
        self._order, self._started, self._epoch, self._new_round = order, None, 0, False
        output = order.output

        def best_so_far() -> SavedModel | None:
            return load_model(output) if output.is_file() else None

        self.next.hide()
        for widget in (self.curve, self.pictures):
            widget.show()
        self.run_job(order.title, learn(order, self.pictures.COLUMNS), best_so_far)

    def _draw_box(self) -> None:
        try:
            self.source.draw_box()
        except Exception as error:
            self.refuse(error)

    def _show_boxes(self) -> None:
        try:
            self._looking = self.source.read()
            run = self.read_run()
        except Exception as error:
            self.refuse(error)
            return
        self.run_job("Looking for objects", prepare(run, self._looking))

    def _open_detect(self) -> None:
        self.viewer.window.add_plugin_dock_widget("napari-equipose", "Detect", tabify=True)

    def show_report(self, report: Any) -> None:
        """Show how far the run is and what it has learned."""
        if isinstance(report, Started):
            self._started = report
            self.show_progress(0, f"Learning from {self._boxes()} …")
        elif isinstance(report, StepReport | EpochReport):
            self._show_training(report)
        elif isinstance(report, Pictures):
            self.pictures.show_pictures(*report)
        elif isinstance(report, Progress):
            self._new_round = self._started is not None
            self.status.setText(f"{report.message.capitalize()} …")

    def _show_training(self, report: StepReport | EpochReport) -> None:
        assert self._started is not None
        epochs = self._started.epochs
        done, current = float(report.epoch), report.epoch
        if isinstance(report, EpochReport):
            if self._new_round:  # of other boxes, so that the losses don't compare
                self.curve.clear_all()
                self._new_round = False
            self.curve.add(report.epoch, report.loss, report.validation_loss, report.best)
            self._epoch = report.epoch
        else:
            done, current = report.epoch + report.step / report.steps, report.epoch + 1
        left = time_left(report.seconds_left)
        lines = [f"Epoch {current} of {epochs}, {self._boxes()}", left]
        self.show_progress(done / epochs, "\n".join(filter(None, lines)))

    def _boxes(self) -> str:
        assert self._order is not None and self._started is not None
        source = self._order.source
        return _count(self._started.boxes, source.plane.note if source and source.plane else "")

    def show_end(self, ending: Ending) -> None:
        """Offer the model to the other panels, and say what there is."""
        source, self._looking = self._looking, None
        if source is not None:
            self._add_boxes(source, ending)
            return
        assert self._order is not None
        output, saved = self._order.output, ending.result
        where = f"Saved as {short(output)}"
        name = shelf.put(saved, output) if isinstance(saved, SavedModel) else None
        self.next.setVisible(name is not None and hasattr(self.viewer, "window"))
        if ending.state == "done":
            self.show_progress(1, f"Done: the model {name} is ready.\n{where}")
        elif ending.state == "stopped" and name:
            of = self._started.epochs if self._started else 0
            after = f" after epoch {self._epoch} of {of}" if self._epoch else ""
            self.status.setText(
                f"Stopped{after}. The best model so far, {name}, is ready.\n{where}"
            )
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
        boxes = _count(len(prepared.boxes), source.plane.note)
        self.show_progress(0, f"{boxes}, a few of them drawn.")

    def offer(self) -> None:
        """Offer to resume where there is a run that is not done."""
        self.resume.setEnabled(not self.is_running and self._run_to_resume() is not None)

    def set_running(self, running: bool) -> None:
        """Let only one run at a time be started."""
        super().set_running(running)
        self.source.setEnabled(not running)
        self.settings.setEnabled(not running)
        self.runs.busy = running
        self.offer()

    def detach(self) -> None:
        """Let go of the viewer: the panel was closed."""
        super().detach()
        self.source.detach()


def _count(boxes: int, note: str) -> str:
    return f"{boxes} boxes{f' of {note}' if note else ''}"


def _new_name(layer: str) -> Path:
    """Name of a model file that is not there yet, and that no job is about to write."""
    word = re.sub(r"[^\w]+", "-", layer.lower()).strip("-") or "model"
    numbers = (user_folder() / f"{word}-{number}.safetensors" for number in count(1))
    return next(path for path in numbers if not (path.exists() or RunFolder.of(path).is_taken))
