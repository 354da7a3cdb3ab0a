"""Fitting models: candidates, boxes, presets, the loop, and runs that can be resumed."""

from ._checkpoint import checkpoint_path
from ._fit import EpochReport, StepReport, TrainingConfig, TrainingError, fit
from ._prepare import TrainingBoxes, boxes_from_images, boxes_from_stack
from ._prepare_run import PreparedRun, choose_likelihood, prepare_images, prepare_stack
from ._presets import Preset, preset
from ._proposals import Candidates, propose, propose_many
from ._rounds import Report, train_prepared
from ._run_file import TrainingRun, read_run, write_run
from ._train import train

__all__ = [
    "Candidates",
    "EpochReport",
    "PreparedRun",
    "Preset",
    "Report",
    "StepReport",
    "TrainingBoxes",
    "TrainingConfig",
    "TrainingError",
    "TrainingRun",
    "boxes_from_images",
    "boxes_from_stack",
    "checkpoint_path",
    "choose_likelihood",
    "fit",
    "prepare_images",
    "prepare_stack",
    "preset",
    "propose",
    "propose_many",
    "read_run",
    "train",
    "train_prepared",
    "write_run",
]
