"""A model that was told the truth, to try what is done with what a model infers."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_equipose.geometry import MissingWedge, Poses, Poses3D
from napari_equipose.models import Capabilities, Normalisation, Posterior, SavedModel


@dataclass(frozen=True, kw_only=True)
class OracleConfig:
    box_size: int
    dimensions: int = 3
    channels: int = 1
    wedge: MissingWedge | None = None
    radius: float = 0.5


class Oracle(nn.Module):
    """Says of box after box, in the order in which it sees them, what it was told."""

    def __init__(
        self,
        config: OracleConfig,
        poses: Poses | Poses3D,
        content: Tensor | None = None,
        hypotheses: Poses3D | None = None,
    ) -> None:
        super().__init__()
        self.config, self.poses, self.hypotheses = config, poses, hypotheses
        n = len(poses.rotation)
        self.content = torch.zeros(n, 1) if content is None else content
        self.seen = self.asked = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            dimensions=frozenset({self.config.dimensions}),
            infers=frozenset({"rotation", "translation"}),
            fully_convolutional=False,
            clusters=False,
        )

    def infer(self, images: Tensor) -> Posterior:
        rows = slice(self.seen, self.seen + len(images))
        self.seen += len(images)
        content = self.content[rows]
        poses = type(self.poses)(*(part[rows] for part in self.poses))
        return Posterior(poses, content, torch.ones_like(content))

    def propose(self, images: Tensor) -> tuple[Poses3D, Tensor]:
        assert self.hypotheses is not None
        rows = slice(self.asked, self.asked + len(images))
        self.asked += len(images)
        h = self.hypotheses.rotation.shape[1]
        poses = Poses3D(*(part[rows].flatten(0, 1) for part in self.hypotheses))
        return poses, torch.zeros(len(images), h)

    def generate(self, content: Tensor, poses: Any = None, box_size: int | None = None) -> Tensor:
        config = self.config
        return torch.zeros(len(content), config.channels, *[config.box_size] * config.dimensions)


def told(*arguments: Any, **settings: Any) -> SavedModel:
    """Such a model as if it came from a file; the arguments are those of `Oracle`."""
    return SavedModel(
        kind="harmony", model=Oracle(*arguments, **settings), normalisation=Normalisation()
    )
