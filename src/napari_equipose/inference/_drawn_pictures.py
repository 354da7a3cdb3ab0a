"""The structures that a model of images began with, as it draws them, found in boxes."""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import Poses
from ..models import Posterior, SavedModel
from ._fit_in_box import fit_in_box
from ._picture_search import SIDE, PictureSearch, reduced_images, windowed
from ._progress import finish


class DrawnPictures(NamedTuple):
    """What a model draws of its structures, and how it is searched for."""

    content: Tensor  # (k, content_dim)
    pictures: Tensor  # (k, channels, side, side)
    search: PictureSearch

    @classmethod
    @torch.no_grad()
    def of(cls, saved: SavedModel) -> "DrawnPictures | None":
        """Draw them; None of a model that began with none."""
        structures, config = saved.record.get("structures"), saved.model.config
        if not structures:
            return None
        device = next(iter(saved.model.parameters())).device  # type: ignore[attr-defined]
        content = torch.tensor(structures, dtype=torch.float32, device=device)
        drawn = windowed(reduced_images(saved.model.generate(content).cpu()))
        reach = (config.translation_range or 1.0) * min(SIDE / config.box_size, 1.0)
        most = log(config.scale_range or 1.0)
        return cls(content, drawn, PictureSearch(drawn.shape[-1], reach, 2 * most))

    @torch.no_grad()
    def find(self, saved: SavedModel, images: Tensor, posterior: Posterior) -> Posterior:
        """Put the structure that fits best in place of what a model infers, where it fits better.

        What lies between two structures is the encoder's to tell.
        """
        small = reduced_images(images.cpu())
        placed, label = finish(self.search.compare(small, self.pictures, ""))
        shift = placed.translation * (images.shape[-1] / small.shape[-1])
        poses = Poses(*(part.to(images.device) for part in (placed.rotation, shift)))
        found = posterior._replace(poses=poses, content=self.content[label.to(self.content.device)])
        if posterior.scale is not None:
            found = found._replace(scale=placed.log_scale.exp().to(images.device))
        better = fit_in_box(saved.model, images, found) > fit_in_box(saved.model, images, posterior)

        def either(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        assert isinstance(posterior.poses, Poses)
        poses = Poses(*map(either, found.poses, posterior.poses))
        content = either(found.content, posterior.content)
        chosen = posterior._replace(poses=poses, content=content)
        if posterior.scale is None or found.scale is None:
            return chosen
        return chosen._replace(scale=either(found.scale, posterior.scale))
