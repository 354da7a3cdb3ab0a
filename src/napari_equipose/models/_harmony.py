"""Harmony (Uddin et al., CVPR 2022): content apart from transformations, in 2D and 3D."""

import torch
from torch import Tensor, nn

from ..geometry import Poses, Poses3D, constant, fourier_crop, resample
from ._checks import check_boxes
from ._harmony_config import HarmonyConfig
from ._harmony_ctf import low_passed, through_lens, through_lens_as_it_is
from ._harmony_energy import energy, left_out
from ._harmony_networks import PictureDecoder, PlainEncoder, ViewEncoder
from ._harmony_reading import Reading, content_kl, distance
from ._harmony_transforms import TransformRanges, Transforms
from ._interface import Capabilities, LossTerms, Posterior
from ._normal_kl import LOG_STD_RANGE


class Harmony(nn.Module):
    """Bring what is in images or volumes to rest, and say what it is.

    An encoder gives each image a transformation and a content; a decoder draws the object at rest
    from the content. The object brought to rest, ``x_k``, must look like what is drawn, ``x_z``,
    and like itself when a randomly transformed copy of the image is brought to rest.

    Parameters
    ----------
    config : HarmonyConfig
        Kept as ``config``.

    Notes
    -----
    Ours beside the paper: every ``x_k`` is one resampling of the image as it came, also that of
    the copy. Errors count by the size and the gain of the object in its image, and what of an
    image does not come to rest within the box counts in full: otherwise it would pay to call
    objects large and bright, to move them out of the box, and to blur noise by interpolation. The
    missing wedge and several hypotheses are options.

    References
    ----------
    M. R. Uddin et al., "Harmony: A Generic Unsupervised Approach for Disentangling Semantic
    Content from Parameterized Transformations", CVPR 2022, section 3.
    """

    start: Tensor  # (hypotheses, d, d)

    def __init__(self, config: HarmonyConfig) -> None:
        super().__init__()
        self.config = config
        self.ranges = TransformRanges(config)
        n_content = 2 * config.content_dim
        self.encoder: PlainEncoder | ViewEncoder
        if config.views:
            self.encoder = ViewEncoder(config, n_content, self.ranges.at_rest)
        else:
            self.encoder = PlainEncoder(config, n_content, self.ranges.n_numbers)
        self.decoder = PictureDecoder(config)
        self.register_buffer("start", self.ranges.starts(), persistent=False)
        self._content_held = False

    @property
    def capabilities(self) -> Capabilities:
        """What this system can do."""
        return Capabilities(
            dimensions=frozenset({self.config.dimensions}),
            infers=self.config.infers,
            fully_convolutional=False,
            clusters=False,
        )

    def loss(self, images: Tensor, ctf: Tensor | None = None) -> LossTerms:
        """Terms of the objective (section 3.5).

        Parameters
        ----------
        images : Tensor, shape (n, channels, box_size, box_size), or with a third box_size
        ctf : Tensor, shape (n, box_size, box_size // 2 + 1), optional
            Contrast transfer function of each image, on the frequencies of `torch.fft.rfft2`;
            applied to what the decoder draws, turned and scaled as the object is brought to rest.
            Volumes are taken to have that of the axes y and x at all directions.

        Returns
        -------
        LossTerms
            Means over the images. Times gamma: ``decoded``, between the object drawn and the one
            brought to rest, in the image; ``aligned``, between the objects of image and copy;
            ``decoded_copy``. And ``kl_content``, between the two distributions of the content.
        """
        images, config = self._reduced(images), self.config
        gamma = config.gamma or (config.training_size or len(images)) / len(images)
        reading = self._read(images)
        drawn = self.decoder(self._sample(reading))
        chosen = self._choose(images, reading.proposals, drawn, ctf)
        rest = chosen.bring_to_rest(images)

        with torch.no_grad():
            relation = self.ranges.random(len(images), images)
            copies = relation.apply(images)
            if config.wedge is not None:
                copies = config.wedge.apply(copies)
        reading_copy = self._read(copies)
        drawn_copy = self.decoder(self._sample(reading_copy))
        back = relation.inverse()
        chosen_copy = self._choose(copies, reading_copy.proposals, drawn_copy, ctf, back)
        whole = back.compose(chosen_copy)
        rest_copy = whole.bring_to_rest(images)
        if ctf is not None:
            drawn = through_lens(drawn, ctf, chosen)
            drawn_copy = through_lens(drawn_copy, ctf, whole)

        outside = left_out(config, images, rest, chosen)
        outside_copy = left_out(config, images, rest_copy, whole)
        parts = {
            "decoded": energy(config, drawn - rest, chosen) + outside,
            "aligned": energy(config, rest - rest_copy, chosen, whole) + outside + outside_copy,
            "decoded_copy": energy(config, drawn_copy - rest_copy, whole) + outside_copy,
        }
        parts = {name: gamma * value.mean() for name, value in parts.items()}
        parts["kl_content"] = content_kl(reading, reading_copy).mean()
        return LossTerms(torch.stack(list(parts.values())).sum(), parts)

    def _read(self, images: Tensor) -> Reading:
        content, numbers = self.encoder(images, self.start)
        found = self.ranges.bounded(numbers)
        turned = self.start.repeat(len(images), 1, 1)
        still = Transforms(turned, *(torch.zeros_like(value) for value in found[1:]))
        mean, log_std = content.chunk(2, dim=1)
        return Reading(still.compose(found), mean, log_std.clamp(*LOG_STD_RANGE))

    def hold_content(self, held: bool) -> None:
        """Draw all objects with content zero in training, so that they agree on one frame."""
        self._content_held = held

    def guided_loss(
        self,
        boxes: Tensor,
        content: Tensor,
        content_std: float,
        poses: Poses | Poses3D,
        scale: Tensor | None = None,
    ) -> Tensor:
        """How far the encoder is from contents and poses that are known of some boxes.

        Parameters
        ----------
        boxes : Tensor, shape (n, channels, y, x), or (n, channels, z, y, x)
            Transformed at random before the encoder sees them.
        content : Tensor, shape (n, content_dim)
        content_std : float
            The spread wanted of the contents.
        poses : Poses, or Poses3D of volumes
            In pixels of the boxes.
        scale : Tensor, shape (n,), optional
            By how much each object is enlarged; 1 when not given.

        Returns
        -------
        Tensor
            Mean over the boxes; of the proposals for each the nearest counts.
        """
        boxes = self._reduced(boxes)
        relation = self.ranges.random(len(boxes), boxes)
        copies = relation.apply(boxes)
        if self.config.wedge is not None:
            copies = self.config.wedge.apply(copies)
        still = torch.zeros_like(relation.log_scale)
        shift = poses.translation * (self.config.side / self.config.box_size)
        larger = still if scale is None else scale.log()
        rotation = poses.matrix if isinstance(poses, Poses) else poses.rotation
        known = relation.compose(Transforms(rotation, shift, larger, still, still))
        return distance(self.config, self._read(copies), known, content, content_std)

    def _sample(self, reading: Reading) -> Tensor:
        if self._content_held:
            return torch.zeros_like(reading.content)
        return reading.content + reading.log_std.exp() * torch.randn_like(reading.content)

    def _choose(
        self,
        images: Tensor,
        proposals: Transforms,
        drawn: Tensor,
        ctf: Tensor | None = None,
        back: Transforms | None = None,
    ) -> Transforms:
        """Keep, of the proposals for each image, the one that fits what is drawn best.

        ``back`` leads from copies to the images that have the ``ctf``.
        """
        n, hypotheses = len(images), self.config.hypotheses
        if hypotheses == 1:
            return proposals
        best = self._misfits(images, proposals, drawn, ctf, back).argmin(1)
        return proposals.rows(torch.arange(n, device=best.device) * hypotheses + best)

    @torch.no_grad()
    def _misfits(
        self,
        images: Tensor,
        proposals: Transforms,
        drawn: Tensor,
        ctf: Tensor | None = None,
        back: Transforms | None = None,
    ) -> Tensor:
        """Sum of squared errors (n, hypotheses) of each proposal, on boxes of half the size.

        It is the coarse features that tell unlike rotations apart.
        """
        config, hypotheses = self.config, self.config.hypotheses
        side = config.coarse_side
        small, drawn = (
            fourier_crop(value, side).repeat_interleave(hypotheses, 0) for value in (images, drawn)
        )
        shift = proposals.translation * (side / config.side)
        proposals = proposals._replace(translation=shift)
        rest = proposals.bring_to_rest(small)
        if ctf is not None:
            each = torch.arange(len(ctf), device=ctf.device).repeat_interleave(hypotheses)
            seen = proposals if back is None else back.rows(each).compose(proposals)
            drawn = through_lens(drawn, ctf[each], seen)
        misfit = energy(config, drawn - rest, proposals) + left_out(config, small, rest, proposals)
        return misfit.reshape(-1, hypotheses)

    @torch.no_grad()
    def infer(self, images: Tensor) -> Posterior:
        """Most likely transformation, and the content, of images or volumes."""
        images = self._reduced(images)
        reading = self._read(images)
        best = self._choose(images, reading.proposals, self.decoder(reading.content))
        config = self.config
        return Posterior(
            self._poses(best),
            reading.content,
            reading.log_std.exp(),
            scale=None if config.scale_range is None else best.scale,
            contrast=None if config.contrast_range is None else best.log_gain.exp(),
            brightness=None if config.brightness_range is None else best.offset,
        )

    @torch.no_grad()
    def propose(self, images: Tensor) -> tuple[Poses | Poses3D, Tensor]:
        """All poses that the encoder proposes, the best of each image first.

        Returns
        -------
        poses : Poses or Poses3D
            ``n * hypotheses``, those of an image one after the other.
        misfit : Tensor, shape (n, hypotheses)
            Sum of squared errors against what is drawn, on boxes of half the size.
        """
        images = self._reduced(images)
        reading = self._read(images)
        drawn = self.decoder(reading.content)
        misfit, order = self._misfits(images, reading.proposals, drawn).sort(1)
        first = torch.arange(len(images), device=order.device) * self.config.hypotheses
        return self._poses(reading.proposals.rows((first[:, None] + order).flatten())), misfit

    @torch.no_grad()
    def generate(
        self,
        content: Tensor,
        poses: Poses | Poses3D | None = None,
        box_size: int | None = None,
    ) -> Tensor:
        """Draw objects, of the size and contrast at rest.

        Parameters
        ----------
        content : Tensor, shape (n, content_dim)
        poses : Poses, or Poses3D for volumes, optional
            At rest when not given.
        box_size : int, optional
            Side of the boxes in pixels; that of the training boxes by default.

        Returns
        -------
        Tensor, shape (n, channels, box_size, box_size), or with a third box_size
        """
        drawn: Tensor = self.decoder(content)
        config, d = self.config, self.config.dimensions
        factor = config.side / config.box_size
        if poses is None:
            eye = constant(torch.eye, d, like=content).expand(len(content), d, d)
            matrix, shift = eye, content.new_zeros(len(content), d)
        else:
            matrix, shift = poses.inverse().matrix, poses.inverse().translation
        shape = (box_size or config.box_size,) * d
        return resample(drawn, matrix * factor, shift * factor, shape)

    def _poses(self, transforms: Transforms) -> Poses | Poses3D:
        """The rigid part of transformations, in pixels of the boxes as they came."""
        poses = transforms.poses
        shift = poses.translation * (self.config.box_size / self.config.side)
        return poses._replace(translation=shift)

    def cleaned(self, boxes: Tensor, ctf: Tensor | None = None) -> Tensor:
        """Boxes without what the low-pass leaves out, and with the signs that a CTF turned."""
        if ctf is not None:
            boxes = through_lens_as_it_is(boxes, ctf.sign())
        smallest = self.config.low_pass
        return boxes if smallest is None else low_passed(boxes, smallest)

    def seen_through(self, drawn: Tensor, ctf: Tensor) -> Tensor:
        """Show objects at rest through one transfer function (box_size, box_size // 2 + 1)."""
        return through_lens_as_it_is(drawn, ctf.expand(len(drawn), -1, -1))

    def _reduced(self, images: Tensor) -> Tensor:
        """What the networks see of boxes."""
        check_boxes(self.config, images)
        images = self.cleaned(images)
        return images if self.config.binning == 1 else fourier_crop(images, self.config.side)
