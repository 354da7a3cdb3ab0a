"""A step of training TARGET-VAE in bfloat16, beside the same step in float32, in turn.

    python benchmarks/target_vae_speed.py [--preset fast] [--box-size 50] [--threads 1]

Medians over steps on batches of 100 random images; a processor that does not multiply bfloat16
itself is said so, and only float32 is timed.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from _report import print_json, print_table

from napari_equipose.models import TargetVAE, multiplies_bfloat16
from napari_equipose.training import preset


def steps_of(model: TargetVAE, images: torch.Tensor, in_bfloat16: bool) -> Callable[[], None]:
    """Make the function that takes a step."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-4)

    def step() -> None:
        model.multiply_in_bfloat16(in_bfloat16)
        optimizer.zero_grad()
        model.loss(images).total.backward()
        optimizer.step()

    return step


def main() -> None:
    """Time both, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--box-size", type=int, default=50)
    parser.add_argument("--threads", type=int, help="by default one a core")
    parser.add_argument("--steps", type=int, default=15)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    side = arguments.box_size
    config, _ = preset(arguments.preset, box_size=side, likelihood="bernoulli")
    images = torch.rand(100, 1, side, side)
    steps = {"float32": steps_of(TargetVAE(config), images, False)}
    if multiplies_bfloat16(images.device):
        steps["bfloat16"] = steps_of(TargetVAE(config), images, True)
    else:
        print("this processor does not multiply bfloat16 itself")
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(arguments.steps + 2):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if number >= 2:
                seconds[name].append(time.perf_counter() - began)
    median = {name: float(np.median(times)) for name, times in seconds.items()}
    rows = [{"step": n, "s": s, "times faster": median["float32"] / s} for n, s in median.items()]
    print_table(rows)
    run = {"preset": arguments.preset, "box_size": side, "threads": torch.get_num_threads()}
    print_json("target_vae_speed", {**run, "seconds": median})


if __name__ == "__main__":
    main()
