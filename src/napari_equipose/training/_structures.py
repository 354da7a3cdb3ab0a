"""A start for models of volumes: the structures that a search finds."""

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import InputError, Poses3D, fourier_crop
from ..inference import AbInitioConfig, Progress, Structures, ab_initio
from ..models import Harmony
from ._batches import Boxes, seeded, split
from ._training_config import TrainingConfig

_LEAST_VOLUMES = 16
_STEPS = 200  # of the encoder, and of the decoder
_DRAWING_RATE, _READING_RATE = 3e-3, 2e-3
_FARTHEST = 2.0  # contents lie from minus this to this
_SPREAD = 0.1  # of contents, in distances between structures
_IN_PLACE_OF_EPOCH = 2**41
"""Where random numbers are drawn."""


def begin_with_structures(
    model: Any, boxes: Boxes, config: TrainingConfig
) -> Generator[Progress, None, list[list[float]]]:
    """Teach a new model the structures, and the poses, that a search finds among its boxes.

    The structures are put in a row along the first dimension of the content, like beside like.

    Parameters
    ----------
    model : Harmony
        Of volumes, one that infers all rotations.
    boxes : Boxes
        Normalised, shape (n, 1, z, y, x).
    config : TrainingConfig
        Its ``structures`` says how many at most.

    Yields
    ------
    Progress

    Returns
    -------
    list of list of float
        The content of each structure.

    Raises
    ------
    InputError
        If the model is of another kind, or there are fewer than 16 boxes to train on.
    """
    if not (isinstance(model, Harmony) and model.config.dimensions == 3 and model.ranges.all_turns):
        raise InputError(
            "structures are looked for where a harmony model infers all rotations of volumes; "
            "set structures to 0."
        )
    rows, _ = split(len(boxes), config)
    if len(rows) < _LEAST_VOLUMES:
        raise InputError(
            f"at least {_LEAST_VOLUMES} boxes to train on are needed to look for structures, got "
            f"{len(rows)}; give more, or set structures to 0."
        )
    found = yield from ab_initio(
        lambda few: boxes[rows[torch.from_numpy(few)]][:, 0],
        len(rows),
        model.config.wedge,
        AbInitioConfig(
            structures=config.structures,
            max_shift=model.config.translation_range or 1.0,
            seed=config.seed,
        ),
    )
    pupil = _Pupil(model, config, found)
    yield from pupil.learn(boxes, rows)
    contents: list[list[float]] = pupil.contents.tolist()
    return contents


def keep_structures(model: Any) -> None:
    """Let training change no more what a model draws.

    The encoder tells like structures apart less well than the search did, and the decoder would
    come to draw mixtures of them.
    """
    model.decoder.requires_grad_(False)


class _Pupil:
    """A model that is taught what a search found."""

    def __init__(self, model: Harmony, config: TrainingConfig, found: Structures) -> None:
        self.model, self.config, self.found = model, config, found
        self.device = model.start.device
        k = len(found.averages)
        self.contents = torch.zeros(k, model.config.content_dim, device=self.device)
        self.contents[:, 0] = torch.linspace(-_FARTHEST, _FARTHEST, k + 2)[1:-1]
        self.spread = _SPREAD * 2 * _FARTHEST / (k + 1)

    def learn(self, boxes: Boxes, rows: Tensor) -> Generator[Progress, None, None]:
        """Take the steps: of the decoder, then of the encoder."""
        model, config, found = self.model, self.config, self.found
        known = np.flatnonzero(found.label >= 0)
        rows = rows[torch.from_numpy(found.rows[known])]
        label = torch.from_numpy(found.label[known])
        poses = Poses3D(*(part[torch.from_numpy(known)] for part in found.poses))
        averages = torch.from_numpy(found.averages).unsqueeze(1).to(self.device)
        drawing = torch.optim.Adam(model.decoder.parameters(), _DRAWING_RATE)
        reading = torch.optim.Adam(model.encoder.parameters(), _READING_RATE)
        for step in range(2 * _STEPS):
            optimizer = drawing if step < _STEPS else reading
            with seeded(config, _IN_PLACE_OF_EPOCH, step, self.device):
                optimizer.zero_grad()
                if step < _STEPS:
                    loss = self._unlike(averages)
                else:
                    few = torch.randint(len(rows), (config.batch_size,))
                    given = Poses3D(*(part[few].to(self.device) for part in poses))
                    batch = boxes[rows[few]].to(self.device)
                    content = self.contents[label[few].to(self.device)]
                    loss = model.guided_loss(batch, content, self.spread, given)
                loss.backward()
                optimizer.step()
            yield Progress(step + 1, 2 * _STEPS, "learning what was found")

    def _unlike(self, averages: Tensor) -> Tensor:
        """Misfit of what is drawn of each structure, as a part of its power."""
        drawn = self.model.decoder(self.contents + self.spread * torch.randn_like(self.contents))
        if drawn.shape[-1] > averages.shape[-1]:
            drawn = fourier_crop(drawn, averages.shape[-1])
        return F.mse_loss(drawn, averages) / averages.square().mean()
