"""The published systems, their common interface, and their files."""

from ._device import choose_device, multiplies_bfloat16
from ._harmony import Harmony
from ._harmony_config import HarmonyConfig
from ._interface import (
    Capabilities,
    KnowsCategories,
    KnowsRadius,
    KnowsSide,
    KnowsWedge,
    LossTerms,
    Model,
    PickingConfig,
    Posterior,
    SupportsPicking,
    can_pick,
    missing_wedge,
    object_radius,
)
from ._kinds import ModelKind, kind_of, model_kind, model_kinds
from ._likelihoods import GaussianLikelihood
from ._mce_vae import MCEVAE
from ._mce_vae_config import MCEVAEConfig
from ._normalisation import Normalisation, check_finite
from ._out_of_memory import OutOfMemory, free_memory, is_out_of_memory
from ._saved import SavedModel, build_model, load_model, read_metadata, save_model
from ._spatial_vae import SpatialVAE
from ._spatial_vae_config import SpatialVAEConfig
from ._target_vae import TargetVAE
from ._target_vae_config import TargetVAEConfig
from ._vae import VAE, BetaVAEConfig, VAEConfig

__all__ = [
    "MCEVAE",
    "VAE",
    "BetaVAEConfig",
    "Capabilities",
    "GaussianLikelihood",
    "Harmony",
    "HarmonyConfig",
    "KnowsCategories",
    "KnowsRadius",
    "KnowsSide",
    "KnowsWedge",
    "LossTerms",
    "MCEVAEConfig",
    "Model",
    "ModelKind",
    "Normalisation",
    "OutOfMemory",
    "PickingConfig",
    "Posterior",
    "SavedModel",
    "SpatialVAE",
    "SpatialVAEConfig",
    "SupportsPicking",
    "TargetVAE",
    "TargetVAEConfig",
    "VAEConfig",
    "build_model",
    "can_pick",
    "check_finite",
    "choose_device",
    "free_memory",
    "is_out_of_memory",
    "kind_of",
    "load_model",
    "missing_wedge",
    "model_kind",
    "model_kinds",
    "multiplies_bfloat16",
    "object_radius",
    "read_metadata",
    "save_model",
]
