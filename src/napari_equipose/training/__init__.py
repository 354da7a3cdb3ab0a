"""Fitting models: candidates, boxes, presets, the loop, and runs that can be resumed."""

from ._checkpoint import checkpoint_path
from ._failure import ChildFault, Failure, explain
from ._fit import fit
from ._harmony_presets import HarmonyPreset, harmony_preset
from ._hypotheses import Hypothesis, hypotheses
from ._hypothesis_words import NEXT_STEPS, question_of, title_of
from ._in_child import train_in_child
from ._inputs import about, read_large_image, read_volume
from ._kinds import Source, check_kind, kinds, why_not
from ._mce_vae_presets import MCEVAEPreset, mce_vae_preset
from ._prepare import TrainingBoxes, boxes_from_images, boxes_from_stack
from ._prepare_run import PreparedRun, choose_likelihood, prepare_images, prepare_stack
from ._prepare_volumes import prepare_volumes
from ._presets import Preset, preset
from ._proposals import Candidates, propose, propose_many
from ._reports import EpochReport, Report, Started, StepReport, describe
from ._rounds import train_prepared
from ._run_file import TrainingRun, read_run, write_run
from ._run_folder import RunFolder, RunState, create_run
from ._schedule import TrainingError
from ._source import pixel_size_of_layer
from ._train import train
from ._train_run import train_run
from ._training_config import TrainingConfig
from ._unfinished import UnfinishedRun, unfinished_run, unfinished_runs
from ._vae_presets import spatial_vae_preset, vae_preset

__all__ = [
    "NEXT_STEPS",
    "Candidates",
    "ChildFault",
    "EpochReport",
    "Failure",
    "HarmonyPreset",
    "Hypothesis",
    "MCEVAEPreset",
    "PreparedRun",
    "Preset",
    "Report",
    "RunFolder",
    "RunState",
    "Source",
    "Started",
    "StepReport",
    "TrainingBoxes",
    "TrainingConfig",
    "TrainingError",
    "TrainingRun",
    "UnfinishedRun",
    "about",
    "boxes_from_images",
    "boxes_from_stack",
    "check_kind",
    "checkpoint_path",
    "choose_likelihood",
    "create_run",
    "describe",
    "explain",
    "fit",
    "harmony_preset",
    "hypotheses",
    "kinds",
    "mce_vae_preset",
    "pixel_size_of_layer",
    "prepare_images",
    "prepare_stack",
    "prepare_volumes",
    "preset",
    "propose",
    "propose_many",
    "question_of",
    "read_large_image",
    "read_run",
    "read_volume",
    "spatial_vae_preset",
    "title_of",
    "train",
    "train_in_child",
    "train_prepared",
    "train_run",
    "unfinished_run",
    "unfinished_runs",
    "vae_preset",
    "why_not",
    "write_run",
]
