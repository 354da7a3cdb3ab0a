"""A start for models that infer all rotations: the structures that a search finds."""

from collections.abc import Generator
from math import log
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import ContrastTransfer, InputError, fourier_crop
from ..inference import AbInitioConfig, Progress, Structures, ab_initio, ab_initio_images
from ..models import Harmony, TargetVAE
from ._batches import Boxes, Feed, adam, seeded, split
from ._training_config import TrainingConfig
from ._wake_sleep import begin_with_classes, find_classes

_LEAST_BOXES = 16
_STEPS = 200  # of the decoder
_READING_STEPS = {2: 2000, 3: 200}  # of the encoder, which of images has no views to begin with
_PARTICLES = {2: 48, 3: 24}  # of each structure; images are searched quickly
_DRAWING_RATE, _READING_RATE = 3e-3, 2e-3
_FARTHEST = 2.0  # contents lie from minus this to this
_SPREAD = 0.1  # of contents, in distances between structures
_IN_PLACE_OF_EPOCH = 2**41
"""Where random numbers are drawn."""


def begin_with_structures(
    model: Any,
    boxes: Boxes,
    config: TrainingConfig,
    ctf: ContrastTransfer | None = None,
    found: Structures | None = None,
) -> Generator[Progress, None, list[list[float]]]:
    """Teach a new model the structures, and the poses, that a search finds among its boxes.

    The structures are put in a row along the first dimension of the content, like beside like.

    Parameters
    ----------
    model : Harmony or TargetVAE
        A Harmony model is one that infers all rotations; of images, no contrast.
    boxes : Boxes
        Normalised, shape (n, channels, y, x) or (n, 1, z, y, x).
    config : TrainingConfig
        Its ``structures`` says how many at most.
    ctf : ContrastTransfer, optional
        Of each box. The search sees boxes with their signs corrected, and what the model draws is
        like the averages when seen through the mean of the transfer functions. Not with a
        TargetVAE.
    found : Structures, optional
        What a search has found already, for a TargetVAE.

    Yields
    ------
    Progress

    Returns
    -------
    list of list of float
        The content of each structure; of a TargetVAE possibly none, which leaves it as it was.

    Raises
    ------
    InputError
        If the model is of another kind, or there are fewer than 16 boxes to train on.
    """
    if isinstance(model, TargetVAE):
        if ctf is not None:
            raise InputError(
                "a target-vae model looks for structures in boxes as they are, not with a CTF; set "
                "structures to 0."
            )
        if found is None:
            found = yield from find_classes(model.config, boxes, config)
        if not len(found.averages):
            return []
        contents = yield from begin_with_classes(model, boxes, config, found)
        return contents
    if not (
        isinstance(model, Harmony)
        and model.ranges.all_turns
        and (model.config.dimensions == 3 or "contrast" not in model.config.infers)
    ):
        raise InputError(
            "structures are looked for by target-vae, and where a harmony model infers all "
            "rotations, and of images no contrast; set structures to 0."
        )
    rows, _ = split(len(boxes), config)
    if len(rows) < _LEAST_BOXES:
        raise InputError(
            f"at least {_LEAST_BOXES} boxes to train on are needed to look for structures, got "
            f"{len(rows)}; give more, or set structures to 0."
        )

    def read(few: NDArray[np.int64]) -> Tensor:
        chosen = rows[torch.from_numpy(few)]
        cleaned: Tensor = model.cleaned(boxes[chosen], None if ctf is None else ctf[chosen])
        return cleaned

    wanted = AbInitioConfig(
        structures=config.structures,
        particles=_PARTICLES[model.config.dimensions],
        max_shift=model.config.translation_range or 1.0,
        seed=config.seed,
    )
    if model.config.dimensions == 3:
        wedge = model.config.wedge
        found = yield from ab_initio(lambda few: read(few)[:, 0], len(rows), wedge, wanted)
    else:
        most = 2 * log(model.config.scale_range or 1.0)
        found = yield from ab_initio_images(read, len(rows), wanted, most)
    transfer = None if ctf is None else ctf[rows[torch.from_numpy(found.rows)]].abs().mean(0)
    pupil = _Pupil(model, config, found, transfer)
    yield from pupil.learn(boxes, rows)
    return list(pupil.contents.tolist())


def keep_structures(model: Any, structures: list[list[float]]) -> None:
    """Let training change no more what a model draws of its structures, where there are several.

    The encoder tells like structures apart less well than the search did, and the decoder would
    come to draw mixtures of them. What lies between them is drawn by the mixture of the pictures;
    a single structure of images goes on to learn how its objects differ, and so do the classes of a
    TargetVAE, which are views that noise has made one of many.
    """
    if isinstance(model, Harmony) and (model.config.dimensions == 3 or len(structures) > 1):
        model.decoder.requires_grad_(False)


class _Pupil:
    """A model that is taught what a search found."""

    def __init__(
        self, model: Harmony, config: TrainingConfig, found: Structures, transfer: Tensor | None
    ) -> None:
        self.model, self.config, self.found = model, config, found
        self.device = model.start.device
        self.transfer = None if transfer is None else transfer.to(self.device)
        k = len(found.averages)
        self.contents = torch.zeros(k, model.config.content_dim, device=self.device)
        self.contents[:, 0] = torch.linspace(-_FARTHEST, _FARTHEST, k + 2)[1:-1]
        self.spread = _SPREAD * 2 * _FARTHEST / (k + 1)

    def learn(self, boxes: Boxes, rows: Tensor) -> Generator[Progress, None, None]:
        """Take the steps: of the decoder, then of the encoder."""
        model, config, found = self.model, self.config, self.found.members()
        feed = Feed(boxes, self.device)
        rows = rows[torch.from_numpy(found.rows)].to(feed.rows_on)
        label = torch.from_numpy(found.label).to(self.device)
        kind: Any = type(found.poses)
        poses = [part.to(self.device) for part in found.poses]
        scale = None if found.scale is None else torch.from_numpy(found.scale).to(self.device)
        averages = torch.from_numpy(found.averages).to(self.device)
        if model.config.dimensions == 3:
            averages = averages.unsqueeze(1)
        drawing = adam(model.decoder.parameters(), _DRAWING_RATE, self.device)
        reading = adam(model.encoder.parameters(), _READING_RATE, self.device)
        steps = _STEPS + _READING_STEPS[model.config.dimensions]
        for step in range(steps):
            optimizer = drawing if step < _STEPS else reading
            with seeded(config, _IN_PLACE_OF_EPOCH, step, self.device):
                optimizer.zero_grad()
                if step < _STEPS:
                    loss = self._unlike(averages)
                else:
                    few = torch.randint(len(rows), (config.batch_size,), device=feed.rows_on)
                    batch = feed[rows[few]]
                    few = few.to(self.device)
                    given = kind(*(part[few] for part in poses))
                    scaled = None if scale is None else scale[few]
                    content = self.contents[label[few]]
                    loss = model.guided_loss(batch, content, self.spread, given, scaled)
                loss.backward()
                optimizer.step()
            yield Progress(step + 1, steps, "learning what was found")

    def _unlike(self, averages: Tensor) -> Tensor:
        """Misfit of what is drawn of each structure, as a part of its power."""
        drawn = self.model.decoder(self.contents + self.spread * torch.randn_like(self.contents))
        if self.transfer is not None:
            drawn = self.model.seen_through(drawn, self.transfer.to(drawn))
        side = min(drawn.shape[-1], averages.shape[-1])
        drawn, averages = (
            value if value.shape[-1] == side else fourier_crop(value, side)
            for value in (drawn, averages)
        )
        return F.mse_loss(drawn, averages) / averages.square().mean()
