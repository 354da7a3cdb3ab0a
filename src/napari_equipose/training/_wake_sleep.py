"""A start for TARGET-VAE on noisy images: it draws what classes look like, and reads its dreams."""

from collections.abc import Generator
from math import cos, pi
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError, Poses, apply_poses, smooth_disc_mask
from ..inference import ClassificationConfig, Progress, Structures, classify_images
from ..models import TargetVAE, TargetVAEConfig, multiplies_bfloat16
from ._batches import Boxes, adam, seeded, split
from ._training_config import TrainingConfig

_DRAWING_STEPS, _READING_STEPS = 300, 600
_DRAWING_RATE, _READING_RATE, _WARM_UP = 3e-3, 2e-3, 50
_CONTRAST = (0.8, 1.2)  # of what is dreamt
_FARTHEST = 2.0  # contents lie from minus this to this
_SPREAD = 0.1  # of contents, in distances between classes
LEAST_BOXES = 16
_IN_PLACE_OF_EPOCH = 2**41
"""Where random numbers are drawn."""


class Decoys(NamedTuple):
    """Boxes that show no objects, found as those were that may."""

    boxes: Tensor  # (n, channels, y, x), normalised
    among: int
    """How many boxes were found in the images that these are from: the first of all boxes."""


def find_classes(
    config: TargetVAEConfig, boxes: Boxes, training: TrainingConfig, decoys: Decoys | None = None
) -> Generator[Progress, None, Structures]:
    """Sort noisy boxes into classes, ``training.structures`` at most, of those to train on.

    Parameters
    ----------
    config : TargetVAEConfig
    boxes : Boxes
        Normalised, shape (n, channels, y, x).
    training : TrainingConfig
    decoys : Decoys, optional
        Classes are then looked for among the boxes of the same images.

    Raises
    ------
    InputError
        If there are fewer than 16 boxes to train on.
    """
    rows, _ = split(len(boxes), training)
    false: Tensor | None = None
    if decoys is not None:
        rows = rows[rows < decoys.among]
        false = decoys.boxes[: -(-len(decoys.boxes) * len(rows) // decoys.among)]
    if len(rows) < LEAST_BOXES:
        raise InputError(
            f"at least {LEAST_BOXES} boxes to train on are needed to look for structures, got "
            f"{len(rows)}; give more, or set structures to 0."
        )
    reach = 2 * (config.translation_std or config.box_size / 10)
    wanted = ClassificationConfig(
        classes=training.structures,
        object_size=config.canonical_size,
        max_shift=min(reach, config.places_range * config.binning or reach),
        seed=training.seed,
    )

    def read(few: NDArray[np.int64]) -> Tensor:
        return boxes[rows[torch.from_numpy(few)]].cpu()

    found = yield from classify_images(read, len(rows), wanted, false)
    return found._replace(rows=rows.numpy()[found.rows])


def begin_with_classes(
    model: TargetVAE,
    boxes: Boxes,
    config: TrainingConfig,
    found: Structures,
) -> Generator[Progress, None, list[list[float]]]:
    """Teach a new model to draw classes that were found, and to read what it draws under noise.

    In noise the encoder learns by heart, long before it learns to read rotations, the boxes that
    it sees again and again. It never sees a dream twice.

    Parameters
    ----------
    model : TargetVAE
    boxes : Boxes
        Normalised, shape (n, channels, y, x).
    config : TrainingConfig
    found : Structures
        As `find_classes` found them, at least one. They are put in a row along the first
        dimension of the content.

    Yields
    ------
    Progress

    Returns
    -------
    list of list of float
        The content of each class.

    References
    ----------
    G. E. Hinton, P. Dayan, B. J. Frey and R. M. Neal, "The wake-sleep algorithm for unsupervised
    neural networks", Science 1995: the phase of sleep.
    """
    dreamer = _Dreamer(model, boxes, config, found)
    if config.bfloat16:
        model.multiply_in_bfloat16(multiplies_bfloat16(dreamer.device))
    try:
        for step in range(_DRAWING_STEPS + _READING_STEPS):
            with seeded(config, _IN_PLACE_OF_EPOCH, step, dreamer.device):
                if step < _DRAWING_STEPS:
                    dreamer.learn_to_draw()
                else:
                    dreamer.learn_to_read((step - _DRAWING_STEPS) / _READING_STEPS)
            yield Progress(step + 1, _DRAWING_STEPS + _READING_STEPS, "learning what was found")
    finally:
        model.multiply_in_bfloat16(False)
    contents: list[list[float]] = dreamer.contents.tolist()
    return contents


class _Dreamer:
    """A model that is taught classes."""

    def __init__(
        self, model: TargetVAE, boxes: Boxes, config: TrainingConfig, found: Structures
    ) -> None:
        self.model, self.config = model, config
        self.device = next(model.parameters()).device
        k = len(found.averages)
        self.averages = torch.from_numpy(found.averages).to(self.device)
        self.contents = torch.zeros(k, model.config.content_dim, device=self.device)
        self.contents[:, 0] = torch.linspace(-_FARTHEST, _FARTHEST, k + 2)[1:-1]
        self.spread = _SPREAD * 2 * _FARTHEST / (k + 1)
        shares = torch.bincount(torch.from_numpy(found.label[found.label >= 0])).float()
        self.shares = shares.to(self.device)
        half = model.config.canonical_size / 2
        self.mask = smooth_disc_mask(model.config.box_size, half, edge=2.0).to(self.device)
        self.noise = self._noise(boxes, found)
        self.drawing = adam(model.generator.parameters(), _DRAWING_RATE, self.device)
        self.reading = adam(model.encoder.parameters(), _READING_RATE, self.device)

    def learn_to_draw(self) -> None:
        """Take a step towards the averages."""
        self.drawing.zero_grad()
        zero = self.contents.new_zeros(len(self.contents))
        content = self.contents + self.spread * torch.randn_like(self.contents)
        drawn = self.model.draw(content, Poses(zero, torch.stack((zero, zero), -1)))
        ((drawn - self.averages) * self.mask).square().sum().backward()
        self.drawing.step()

    def learn_to_read(self, done: float) -> None:
        """Take a step towards what is known of a dream; ``done`` of all such steps are taken."""
        warm = min((done * _READING_STEPS + 1) / _WARM_UP, 1)
        for group in self.reading.param_groups:
            group["lr"] = _READING_RATE * warm * (1 + cos(pi * done)) / 2
        n, config = self.config.batch_size, self.model.config
        label = torch.multinomial(self.shares, n, replacement=True)
        content = self.contents[label]
        content = content + self.spread * torch.randn_like(content)
        reach = config.places_range * config.binning
        std = config.translation_std or config.box_size / 10
        shift = (std * torch.randn(n, 2, device=self.device)).clamp(-reach, reach)
        poses = Poses(torch.rand(n, device=self.device) * (2 * pi), shift)
        with torch.no_grad():
            low, high = _CONTRAST
            factor = low + (high - low) * torch.rand(n, 1, 1, 1, device=self.device)
            white = torch.randn(n, config.channels, *self.mask.shape, device=self.device)
            noise = torch.fft.irfft2(torch.fft.rfft2(white) * self.noise, s=white.shape[-2:])
            dream = factor * self.model.draw(content, poses) + noise
        self.reading.zero_grad()
        self.model.guided_loss(dream, content, poses).backward()
        torch.nn.utils.clip_grad_norm_(self.model.encoder.parameters(), self.config.gradient_clip)
        self.reading.step()

    def _noise(self, boxes: Boxes, found: Structures) -> Tensor:
        """Amplitudes of what boxes are beside their averages, on the frequencies of rfft2."""
        found = found.members()
        total = torch.zeros(())
        for few in torch.arange(len(found.rows)).split(256):
            label = torch.from_numpy(found.label)[few].to(self.device)
            poses = Poses(*(part[few].to(self.device) for part in found.poses))
            seen = boxes[torch.from_numpy(found.rows)[few]].to(self.device)
            left = seen - apply_poses((self.averages * self.mask)[label], poses)
            left = left - left.mean((2, 3), keepdim=True)
            total = total.to(left) + torch.fft.rfft2(left).abs().square().sum(0)
        return (total / len(found.rows)).sqrt() / self.model.config.box_size
