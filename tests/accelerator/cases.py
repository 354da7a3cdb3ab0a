"""Small models of every kind and preset, and the few boxes that they take some steps on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from napari_equipose.geometry import ContrastTransfer
from napari_equipose.training import TrainingConfig
from napari_equipose.training._kinds import KINDS, changed

_N, _STEPS = 12, 3
_TARGET = {"fields": 4, "n_rotations": 4, "generator_width": 8, "n_features": 8}
_DENSE = {"encoder_width": 8, "generator_width": 8}
_HARMONY = {"width": 4, "n_pictures": 4}
_FEW = {"hypotheses": 4}
_MCE = {"width": 4, "hidden": 8, "hidden_pose": 8, "hidden_decoder": 8, "copies": 2}
_WEDGE = {"tilt_min_deg": -60.0, "tilt_max_deg": 60.0}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, and what it is trained on."""

    kind: str
    preset: str = "fast"
    settings: Mapping[str, Any] = field(default_factory=dict)
    dimensions: int = 2
    ctf: bool = False
    targets: bool = False

    def configs(self) -> tuple[Any, TrainingConfig]:
        """Settings of a few steps that all count, of a small network."""
        model, training = KINDS[self.kind].configurations(
            self.preset,
            self.settings,
            box_size=16,
            dimensions=self.dimensions,
            channels=1,
            content_dim=2,
            likelihood=self.settings.get("likelihood", "gaussian"),
            n_images=1000,
        )
        few: dict[str, Any] = {"epochs": 1, "steps_per_epoch": _STEPS, "batch_size": 4}
        few |= {"structures": 0, "content_delay": 0}
        return changed(model, self.settings), replace(training, **few)

    def data(self) -> tuple[Tensor, dict[str, Any]]:
        """Boxes, and what is known of them."""
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(_N, 1, *(16,) * self.dimensions, generator=generator)
        given: dict[str, Any] = {}
        if self.ctf:
            numbers = {name: torch.full((_N,), value) for name, value in _MICROSCOPE.items()}
            given["ctf"] = ContrastTransfer(box_size=16, pixel_size=3.0, **numbers)
        if self.targets:
            given["targets"] = images.flip(-1)
        return images, given


_MICROSCOPE = {
    "defocus_u": 1.5e4,
    "defocus_v": 1.4e4,
    "azimuth": 0.3,
    "phase_shift": 0.0,
    "voltage": 300.0,
    "spherical_aberration": 2.7,
    "amplitude_contrast": 0.1,
}


ON_MPS = ("target-vae fast", "spatial-vae 3D fast", "mce-vae supervised", "harmony wedge CTF")
"""One of each kind, with all that steps are given: these are taken on Apple's GPUs as well."""


def cases() -> dict[str, Case]:
    """All cases, by name."""
    target, spatial, harmony = (KINDS[k].presets for k in ("target-vae", "spatial-vae", "harmony"))
    every = {f"target-vae {p}": Case(kind="target-vae", preset=p, settings=_TARGET) for p in target}
    every |= {
        "target-vae CTF": Case(kind="target-vae", settings=_TARGET, ctf=True),
        "target-vae steerable": Case(
            kind="target-vae", settings=_TARGET | {"lifting": "steerable"}
        ),
        "target-vae bernoulli": Case(
            kind="target-vae", settings=_TARGET | {"likelihood": "bernoulli"}
        ),
    }
    for d in (2, 3):
        for p in spatial:
            every[f"spatial-vae {d}D {p}"] = Case(
                kind="spatial-vae", preset=p, settings=_DENSE, dimensions=d
            )
        for p in harmony:
            every[f"harmony {d}D {p}"] = Case(
                kind="harmony",
                preset=p,
                settings=_HARMONY | (_FEW if p == "fast" else {}),
                dimensions=d,
            )
    unlimited = {"hypotheses": 1, "views": False, "rotation_range": 1.0}
    every |= {
        "spatial-vae CTF": Case(kind="spatial-vae", settings=_DENSE, ctf=True),
        "spatial-vae bilinear": Case(
            kind="spatial-vae", settings=_DENSE | {"squares": True, "bilinear": True}
        ),
        "spatial-vae wedge": Case(kind="spatial-vae", settings=_DENSE | _WEDGE, dimensions=3),
        "harmony CTF": Case(kind="harmony", settings=_HARMONY | _FEW, ctf=True),
        "harmony low-pass": Case(kind="harmony", settings=_HARMONY | _FEW | {"low_pass": 3.0}),
        "harmony all ranges": Case(
            kind="harmony",
            settings=_HARMONY
            | unlimited
            | {"scale_range": 1.3, "contrast_range": 2.0, "brightness_range": 2.0},
        ),
        "harmony 3D limited": Case(kind="harmony", settings=_HARMONY | unlimited, dimensions=3),
        "harmony wedge": Case(kind="harmony", settings=_HARMONY | _FEW | _WEDGE, dimensions=3),
        "harmony wedge CTF": Case(
            kind="harmony", settings=_HARMONY | _FEW | _WEDGE, dimensions=3, ctf=True
        ),
        "mce-vae supervised": Case(
            kind="mce-vae", settings=_MCE | {"invariance": "supervised"}, targets=True
        ),
    }
    for p in KINDS["mce-vae"].presets:
        every[f"mce-vae {p}"] = Case(kind="mce-vae", preset=p, settings=_MCE)
    for group in ("SO2", "SIM2"):
        every[f"mce-vae {group}"] = Case(kind="mce-vae", settings=_MCE | {"group": group})
    for kind in ("vae", "beta-vae"):
        for p in KINDS[kind].presets:
            every[f"{kind} {p}"] = Case(kind=kind, preset=p, settings=_DENSE)
    return every | {"vae 3D": Case(kind="vae", settings=_DENSE, dimensions=3)}
