"""Models of every kind, and the boxes and images that they are tried on.

Boxes, networks and trainings are as small as they can be.
"""

from collections.abc import Generator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_equipose.geometry import ContrastTransfer
from napari_equipose.inference import finish
from napari_equipose.models import SavedModel, load_model
from napari_equipose.simulation import multi_object_scene
from napari_equipose.training import PreparedRun, TrainingRun, prepare_stack, train_prepared

SIZE = 16
_DENSE = {"encoder_width": 8, "generator_width": 8}
TARGET = {"fields": 4, "n_rotations": 4, "generator_width": 8, "n_features": 8}
_HARMONY = {"width": 4, "n_pictures": 4, "hypotheses": 4, "structures": 0}
_MCE = {"width": 4, "hidden": 16, "hidden_pose": 8, "hidden_decoder": 16}
_WEDGE = {"tilt_min_deg": -60.0, "tilt_max_deg": 50.0}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model, and what it is trained on."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "fast"
    dimensions: int = 2
    n: int = 24
    content_dim: int | None = None
    colored: bool = False
    ctf: bool = False
    targets: bool = False

    def train(self, output: Path, device: str, resume: bool = False) -> Generator[Any, None, Any]:
        """Train it, with all that follows training."""
        settings: dict[str, Any] = {"output": output, "kind": self.kind, "device": device}
        return train_prepared(self.prepared(), resume=resume, **settings)

    def prepared(self) -> PreparedRun:
        """Make all that its training asks for."""
        more = {"batch_size": 8 if self.dimensions == 2 else 4, "steps_per_epoch": 2}
        run = TrainingRun(
            model=self.kind,
            preset=self.preset,  # type: ignore[arg-type]
            content_dim=self.content_dim,
            epochs=2,
            settings=more | dict(self.settings),
        )
        stack = boxes(self.n, self.dimensions, self.colored)
        prepared = prepare_stack(run, stack, stack[::-1].copy() if self.targets else None)
        return prepared._replace(ctf=transfer(self.n)) if self.ctf else prepared


RECIPES = {
    "target-vae": Recipe(kind="target-vae", settings=TARGET),
    "target-vae paper": Recipe(kind="target-vae", preset="paper", settings=TARGET, n=12),
    "target-vae CTF": Recipe(kind="target-vae", settings=TARGET, ctf=True),
    "target-vae RGB bfloat16": Recipe(
        kind="target-vae", settings=TARGET | {"bfloat16": True}, colored=True
    ),
    "target-vae steerable": Recipe(
        kind="target-vae", settings=TARGET | {"lifting": "steerable", "quarter_turns": True}
    ),
    "harmony 2D": Recipe(kind="harmony", settings=_HARMONY, content_dim=2),
    "harmony 2D contrast CTF": Recipe(
        kind="harmony",
        settings=_HARMONY | {"scale_range": 1.3, "contrast_range": 2.0, "brightness_range": 2.0},
        ctf=True,
    ),
    "harmony 2D structures": Recipe(kind="harmony", settings=_HARMONY | {"structures": 2}),
    "harmony 2D limited": Recipe(
        kind="harmony", preset="paper", settings={"rotation_range": 0.5, "width": 4}
    ),
    "harmony 3D": Recipe(kind="harmony", dimensions=3, settings=_HARMONY, n=8, content_dim=2),
    "harmony 3D wedge": Recipe(
        kind="harmony", dimensions=3, settings=_HARMONY | _WEDGE | {"low_pass": 3.0}, n=8
    ),
    "harmony 3D CTF contrast": Recipe(
        kind="harmony",
        dimensions=3,
        settings=_HARMONY | {"contrast_range": 2.0, "brightness_range": 2.0},
        ctf=True,
        n=8,
    ),
    "harmony 3D limited": Recipe(
        kind="harmony",
        dimensions=3,
        preset="paper",
        settings={"rotation_range": 0.5, "width": 4},
        n=8,
    ),
    "harmony 3D structures": Recipe(
        kind="harmony",
        dimensions=3,
        settings=_HARMONY | {"structures": 2},
        n=20,
    ),
    "spatial-vae 2D": Recipe(kind="spatial-vae", settings=_DENSE),
    "spatial-vae 2D paper": Recipe(kind="spatial-vae", preset="paper", settings=_DENSE),
    "spatial-vae 2D CTF": Recipe(kind="spatial-vae", settings=_DENSE, ctf=True),
    "spatial-vae 3D": Recipe(
        kind="spatial-vae", dimensions=3, settings={"width": 4, "generator_width": 8} | _WEDGE, n=8
    ),
    "mce-vae": Recipe(kind="mce-vae", settings=_MCE, content_dim=2),
    "mce-vae SIM2": Recipe(kind="mce-vae", settings=_MCE | {"group": "SIM2"}),
    "mce-vae supervised": Recipe(kind="mce-vae", settings=_MCE, targets=True),
    "vae": Recipe(kind="vae", settings=_DENSE),
    "vae 3D": Recipe(kind="vae", dimensions=3, settings={"generator_width": 8}, n=8),
    "beta-vae": Recipe(kind="beta-vae", settings=_DENSE),
}


# Data


@cache
def boxes(n: int, dimensions: int = 2, colored: bool = False) -> NDArray[np.float32]:
    """Smooth noise, in boxes of `SIZE` pixels."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(n, *[SIZE] * dimensions, *[3] * colored))
    sigma = (0, *[2] * dimensions, *[0] * colored)
    return ndimage.gaussian_filter(noise, sigma).astype(np.float32)


def transfer(n: int) -> ContrastTransfer:
    """Functions of ``n`` boxes, of unlike defocus."""
    one = torch.ones(n)
    return ContrastTransfer(
        box_size=SIZE,
        pixel_size=4.0,
        defocus_u=8e3 + 100 * torch.arange(n),
        defocus_v=7e3 * one,
        azimuth=0.3 * one,
        phase_shift=0 * one,
        voltage=300 * one,
        spherical_aberration=2.7 * one,
        amplitude_contrast=0.1 * one,
    )


@cache
def scene() -> NDArray[np.float32]:
    """A large image with a few objects."""
    made = multi_object_scene(np.random.default_rng(0), shape=(90, 100), n=16, size=14)
    return made.image.astype(np.float32)


@cache
def saved(name: str) -> SavedModel:
    """Train the model of a recipe on the CPU; read afresh for each use by those who change it."""
    path = Path(mkdtemp(prefix="accelerator-")) / "m.safetensors"
    finish(RECIPES[name].train(path, "cpu"))
    return load_model(path)


def own(name: str) -> SavedModel:
    """Give a copy of the model of a recipe, whose weights are the caller's."""
    one = saved(name)
    return replace(one, model=deepcopy(one.model), record=dict(one.record))
