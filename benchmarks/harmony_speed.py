"""One training step of Harmony in space, ours beside the published implementation's.

    git clone https://github.com/xulabs/aitom
    python benchmarks/harmony_speed.py aitom [--steps 10] [--batch-size 16] [--threads 2]

The published code is run from a clone, never copied. What it wants of kornia 0.4, two functions, is
made here from torch's own; they agree with those of kornia 0.9 and take as long. All programs take
their steps in turn on the same random volumes of 32^3, so that other work on the machine slows all
of them alike; a step is forward, backward and Adam's. Ours is shown with the published networks,
both of them in the place of its own, so that only the rest differs; with its own networks at 32
filters in the first layer, as the published encoder has; as it usually is, with a single proposal
as in the paper; and as the preset `fast` has it. Also shown are the passes through the published
networks alone, which no step with them can be quicker than. In bfloat16, the step runs under
torch's autocast.

How many times faster is a ratio of medians, of least times, and of processor time of all threads.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _report import print_json, print_table
from torch import Tensor, nn

from napari_equipose._memory import keep_memory
from napari_equipose.models import Harmony
from napari_equipose.training import TrainingRun

BOX = 32
FOLDER = Path("aitom/classify/deep/unsupervised/disentangled_representation/harmony")

Step = Callable[[], None]


def affine_matrix(
    translations: Tensor, center: Tensor, scale: Tensor, angles: Tensor, **_: Any
) -> Tensor:
    """Turn about a centre by axis-angle vectors in degrees, then shift: (n, 4, 4) on (x, y, z)."""
    x, y, z = torch.deg2rad(-angles).unbind(-1)  # the sign is kornia's
    zero = torch.zeros_like(x)
    rows = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1)
    turn = torch.linalg.matrix_exp(rows.unflatten(-1, (3, 3))) * scale.unsqueeze(-1)
    shift = center + translations - (turn @ center.unsqueeze(-1)).squeeze(-1)
    top = torch.cat((turn, shift.unsqueeze(-1)), -1)
    return torch.cat((top, top.new_tensor([0, 0, 0, 1]).expand(len(top), 1, 4)), 1)


def warp_affine(
    images: Tensor, matrix: Tensor, dsize: tuple[int, int, int], padding_mode: str, **_: Any
) -> Tensor:
    """Move volumes by matrices (n, 3, 4) in pixels, as kornia does: from -1 to 1, then sampled."""
    sides = torch.tensor(images.shape[:1:-1]).to(matrix)
    last = matrix.new_tensor([0, 0, 0, 1]).expand(len(matrix), 1, 4)
    scale = torch.diag(torch.cat((2 / (sides - 1), matrix.new_ones(1))))
    scale[:3, 3] = -1
    moved = scale @ torch.cat((matrix, last), 1) @ scale.inverse()
    grid = F.affine_grid(moved.inverse()[:, :3], [*images.shape[:2], *dsize], align_corners=False)
    return F.grid_sample(images, grid, padding_mode=padding_mode, align_corners=False)


def borrow(clone: Path) -> tuple[Any, Any]:
    """Import the published model and its loss from a clone."""
    if not (clone / FOLDER).is_dir():
        raise SystemExit(f"{clone / FOLDER} is missing: give the folder of a clone of aitom.")
    kornia: Any = ModuleType("kornia")
    kornia.get_affine_matrix3d, kornia.warp_affine3d = affine_matrix, warp_affine
    sys.modules["kornia"] = kornia
    sys.path.insert(0, str(clone / FOLDER))
    return importlib.import_module("model3D.model"), importlib.import_module("model3D.utils")


class PublishedEncoder(nn.Module):
    """The published encoder, with as many outputs as our transformations take."""

    def __init__(self, encoder: Any, n_content: int, n_pose: int) -> None:
        super().__init__()
        self.sizes = (n_content, n_pose)
        encoder.conv5 = nn.Conv3d(encoder.conv5.in_channels, sum(self.sizes), 1)
        self.encoder = encoder

    def forward(self, images: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the content and of the pose."""
        content, pose = self.encoder(images).split(self.sizes, dim=1)
        return content, pose


def published(module: Any, utils: Any, volumes: Tensor) -> Step:
    """Make a step of the published training loop, by its own model and loss."""
    torch.manual_seed(0)
    model, optimizer = module.get_instance_model_optimizer(volumes.device, 1e-4, 1, BOX)
    weight = 1  # of the dissimilarities; no matter for the time

    def step() -> None:
        loss = utils.loss_fn(*model(volumes), 1, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def ours(volumes: Tensor, networks: Any = None, bfloat16: bool = False, **settings: Any) -> Step:
    """Make a step of our training loop, with the networks of a published module if one is given."""
    run = TrainingRun(model="harmony", preset="fast", settings=settings)
    config, _ = run.configurations(
        box_size=BOX, channels=1, n_images=1000, likelihood="gaussian", dimensions=3
    )
    torch.manual_seed(0)
    model = Harmony(config)
    if networks is not None:
        encoder = networks.ConvEncoder(1, BOX)
        model.encoder = PublishedEncoder(encoder, 2, model.ranges.n_numbers)  # type: ignore[assignment]
        model.decoder = networks.ConvDecoder(1, BOX)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = model.loss(volumes).total
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def networks_alone(module: Any, volumes: Tensor, bfloat16: bool = False) -> Step:
    """Pass twice through the published encoder and decoder, forward and back.

    That is what is left of a step with these networks when all else costs nothing.
    """
    encoder, decoder = module.ConvEncoder(1, BOX), module.ConvDecoder(1, BOX)
    content = torch.randn(len(volumes), 1)

    def step() -> None:
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                passed = encoder(volumes).float().sum() + decoder(content).float().sum()
            passed.backward()

    return step


def timed(steps: dict[str, Step], n: int) -> dict[str, dict[str, Any]]:
    """Take steps of all programs in turn, after two that do not count."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(n + 2):
        for name, step in steps.items():
            began, busy = time.perf_counter(), time.process_time()
            step()
            if number >= 2:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - busy)
    first = next(iter(steps))
    return {
        name: {
            "s": float(np.median(wall[name])),
            "least_s": float(np.min(wall[name])),
            "cpu_s": float(np.median(cpu[name])),
            "times_faster": float(np.median(wall[first]) / np.median(wall[name])),
            "by_least": float(np.min(wall[first]) / np.min(wall[name])),
            "by_cpu": float(np.median(cpu[first]) / np.median(cpu[name])),
        }
        for name in steps
    }


def main() -> None:
    """Time all, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path, help="folder of a clone of xulabs/aitom")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, help="by default one a core")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of ours")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_memory()
    torch.set_flush_denormal(True)
    volumes = torch.randn(arguments.batch_size, 1, *[BOX] * 3)
    more: dict[str, Any] = dict(text.split("=", 1) for text in arguments.set)
    plain: dict[str, Any] = {"hypotheses": 1, "views": False, "binning": 1} | more
    alike, wedge = plain | {"width": 32}, {"tilt_min_deg": -60, "tilt_max_deg": 60}
    module, utils = borrow(arguments.clone)
    steps = {
        "published": published(module, utils, volumes),
        "ours, published networks": ours(volumes, module, **plain),
        "ours, published networks, bfloat16": ours(volumes, module, True, **plain),
        "published networks alone": networks_alone(module, volumes),
        "published networks alone, bfloat16": networks_alone(module, volumes, True),
        "ours, 32 filters": ours(volumes, **alike),
        "ours, 32 filters, bfloat16": ours(volumes, None, True, **alike),
        "ours, one proposal": ours(volumes, **plain),
        "ours, one proposal, bfloat16": ours(volumes, None, True, **plain),
        "ours, one proposal, wedge": ours(volumes, **plain, **wedge),
        "ours, fast, wedge": ours(volumes, **more, **wedge),
    }
    results = timed(steps, arguments.steps)
    print_table([{"step": name, **result} for name, result in results.items()])
    print_json("harmony_speed", {"batch_size": arguments.batch_size, "set": more, **results})


if __name__ == "__main__":
    main()
