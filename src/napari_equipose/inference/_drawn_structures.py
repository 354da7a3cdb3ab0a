"""The structures that a model of volumes began with, as it draws them, found in boxes."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import Poses3D, smooth_ball_mask
from ..models import Posterior, SavedModel, missing_wedge
from ._progress import finish
from ._structure_search import StructureSearch, coarseness, reduced


class DrawnStructures(NamedTuple):
    """What a model draws of its structures, and how it is searched for."""

    content: Tensor  # (k, content_dim)
    averages: list[Tensor]  # k of (side, side, side)
    search: StructureSearch

    @classmethod
    @torch.no_grad()
    def of(cls, saved: SavedModel) -> "DrawnStructures | None":
        """Draw them; None of a model that began with none."""
        structures, config = saved.record.get("structures"), saved.model.config
        if not structures:
            return None
        device = next(iter(saved.model.parameters())).device  # type: ignore[attr-defined]
        content = torch.tensor(structures, dtype=torch.float32, device=device)
        drawn = reduced(saved.model.generate(content).cpu()[:, 0])
        drawn = drawn * smooth_ball_mask(drawn.shape[-1], edge=2.0)
        reach = (config.translation_range or 1.0) * coarseness(config.box_size)
        return cls(content, list(drawn), StructureSearch(missing_wedge(config), reach))

    def find(self, images: Tensor, posterior: Posterior) -> Posterior:
        """Put the pose and the content of the structure that fits best in place of a model's."""
        small = reduced(images[:, 0].cpu())
        poses, label, _ = finish(self.search.compare(small, self.averages, ""))
        shift = poses.translation / coarseness(images.shape[-1])
        found = Poses3D(*(part.to(images.device) for part in (poses.rotation, shift)))
        content = self.content[torch.from_numpy(label).to(self.content.device)]
        return posterior._replace(poses=found, content=content)
