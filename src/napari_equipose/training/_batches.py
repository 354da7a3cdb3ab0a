"""Which images make a batch, with which random numbers, and how many fit into memory."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..geometry import InputError, check_type
from ..inference import Notice
from ..models import GaussianLikelihood, OutOfMemory, free_memory, is_out_of_memory
from ._training_config import TrainingConfig

_Result = TypeVar("_Result")
_SHARE = 0.25
"""Of a device's free memory, for boxes that are kept there; the rest is for the work on them."""


class Boxes(Protocol):
    """What `fit` asks of images: a length, and a batch for a tensor of indices."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Tensor) -> Tensor: ...


class Feed:
    """Batches of boxes, on the device of the model.

    Where the boxes are a tensor that takes no more than a quarter of the free memory of a GPU,
    they are kept there: a copy for each step would have the processor wait for the GPU. Others are
    copied batch by batch, while the GPU works.
    """

    def __init__(self, boxes: Boxes, device: torch.device) -> None:
        self.boxes, self.device = boxes, device
        if isinstance(boxes, Tensor) and boxes.device != device:
            if boxes.numel() * boxes.element_size() <= _SHARE * _free(device):
                self.boxes = boxes.to(device)
        kept = isinstance(self.boxes, Tensor) and self.boxes.device == device
        self.rows_on = device if kept else torch.device("cpu")
        """Where indices of boxes are wanted; others are copied."""

    def __getitem__(self, rows: Tensor) -> Tensor:
        batch = self.boxes[rows.to(self.rows_on)]
        if batch.device == self.device or self.device.type != "cuda":
            return batch.to(self.device)
        return batch.pin_memory().to(self.device, non_blocking=True)


def _free(device: torch.device) -> int:
    """Bytes of memory that a GPU has free; 0 of a device that is none."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return 0


def parameter_groups(model: nn.Module, noise_speedup: float) -> list[dict[str, Any]]:
    """Parameters for `adam`, in their order: the noise of a likelihood may learn faster.

    Adam moves each parameter by about the rate at each step. Weights need to move by tenths, but
    the logarithm of the noise by one and more, from that of the whole image to that of the
    residual. As long as it lags behind, the divergence of the content weighs too much beside the
    residual, by the ratio of the two variances, and the content stays unused.
    """
    noise = {id(m.log_std) for m in model.modules() if isinstance(m, GaussianLikelihood)}
    groups = groupby(model.parameters(), lambda parameter: id(parameter) in noise)
    return [{"params": [*some], "faster": noise_speedup if fast else 1} for fast, some in groups]


def adam(
    parameters: Iterable[nn.Parameter] | list[dict[str, Any]], rate: float, device: torch.device
) -> Any:
    """Make the optimizer; on CUDA one that takes a step in a few operations."""
    return torch.optim.Adam(parameters, rate, fused=True if device.type == "cuda" else None)


def check_enough(images: Boxes) -> None:
    """Refuse what are no images, or fewer than four: training and validation need two each.

    Raises
    ------
    InputError
    """
    check_type("images", images, Sized)
    if len(images) < 4:
        raise InputError(f"training needs at least 4 images, got {len(images)}.")


def split(n: int, config: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Indices of the images to train on and of those held out, fixed by the seed."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(config.seed))
    held = min(max(round(n * config.validation_fraction), 2), config.validation_images)
    return order[held:], order[:held]


def batches(
    rows: Tensor, steps: int, config: TrainingConfig, epoch: int, device: torch.device
) -> Sequence[Tensor]:
    """Batches of an epoch: passes over the images in random order, until there are enough.

    The indices are drawn on the CPU, the same on all devices, and lie on ``device``.
    """
    generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
    size = min(config.batch_size, len(rows))
    passes = -(-steps * size // len(rows))
    order = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(passes)]
    return list(torch.cat(order).to(device).split(size)[:steps])


@contextmanager
def seeded(config: TrainingConfig, epoch: int, step: int, device: torch.device) -> Iterator[None]:
    """Give a step random numbers of its own, and leave the caller's as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(((config.seed * 1_000_003 + epoch) * 1_000_003 + step) % 2**63)
        torch.set_flush_denormal(True)  # faded weights would make every product slow
        try:
            yield
        finally:
            torch.set_flush_denormal(False)


class Room:
    """How many images fit into memory at a time, as tries that fail tell."""

    def __init__(self, images: int, device: torch.device) -> None:
        self.images, self.device = images, device

    def attempt(self, work: Callable[[int], _Result]) -> Generator[Notice, None, _Result]:
        """Do work that is told how many images to take at a time; begin it anew with fewer.

        Raises
        ------
        OutOfMemory
            If memory runs out with a single image. Any other error is let through.
        """
        while True:
            try:
                return work(self.images)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # The error is gone here, and with it the frames that held its tensors.
            free_memory(self.device)
            if self.images == 1:
                raise OutOfMemory(
                    f"the memory of {self.device} does not hold the work on a single box: try "
                    "the device cpu, a smaller box, or the preset fast."
                )
            self.images = (self.images + 1) // 2
            yield Notice(
                f"memory of {self.device} ran out: going on with {self.images} boxes at a time"
            )
