"""How well the rotation of digits can be told at all: told the label, with templates for each.

    python benchmarks/digits_ceiling.py

Handwriting slants, and what slants in the truth can't be seen in the picture. Here each digit is
laid, at all rotations, on templates of its own kind, which are averaged anew from what was laid on
them. With one template a digit, whose frame does not count, that is what a learner of like pictures
can come to; with four, which begin upright, it is told what no picture tells: how the kinds of one
digit lie to each other. Mean resultant length modulo 180 degrees, as in digits.py.
"""

import numpy as np
import torch
from _data import load_mnist
from _report import print_json, print_table
from digits import HALF_TURN
from sklearn.cluster import KMeans
from torch import Tensor

from napari_equipose.evaluation import rotation_resultant
from napari_equipose.geometry import Poses, apply_poses

DIGITS, ANGLES, ROUNDS, MARGIN = 600, 120, 12, 6


def at_all_rotations(pictures: Tensor) -> Tensor:
    """Digits (n, y, x) about their centroids, turned and of unit norm: (n, angles, pixels)."""
    images = torch.nn.functional.pad(pictures.unsqueeze(1), (MARGIN,) * 4)
    n, place = len(images), torch.arange(images.shape[-1]) - float(images.shape[-1] // 2)
    weight = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    middle = torch.stack(((weight.sum(2) * place).sum(1), (weight.sum(1) * place).sum(1)), 1)
    centred = apply_poses(images, Poses(torch.zeros(n), -middle))
    still = torch.zeros(n, 2)
    turned = [
        apply_poses(centred, Poses(torch.full((n,), 2 * np.pi * k / ANGLES), still)).flatten(1)
        for k in range(ANGLES)
    ]
    return torch.nn.functional.normalize(torch.stack(turned, 1), dim=2)


def resultant(turned: Tensor, n_templates: int) -> float:
    """Lay digits on templates, again and again; how well their slants agree then."""
    upright = KMeans(n_templates, n_init=1, random_state=0).fit(turned[:, 0].numpy())
    templates = torch.from_numpy(upright.cluster_centers_).to(turned)
    rows = torch.arange(len(turned))
    for _ in range(ROUNDS):
        templates = torch.nn.functional.normalize(templates, dim=1)
        best = torch.einsum("nap,mp->nam", turned, templates).flatten(1).argmax(1)
        angle, which = best // n_templates, best % n_templates
        laid = turned[rows, angle]
        for k in set(which.tolist()):
            templates[k] = laid[which == k].mean(0)
    return float(rotation_resultant(angle.numpy() * (2 * np.pi / ANGLES), 2).overall)


def main() -> None:
    """Print a table and a line of JSON."""
    pictures, labels = load_mnist()
    rows = []
    for digit in HALF_TURN:
        chosen = torch.from_numpy(pictures[labels == digit][:DIGITS] / np.float32(255))
        turned = at_all_rotations(chosen)
        one, four = resultant(turned, 1), resultant(turned, 4)
        rows.append({"digit": digit, "one template": one, "four, upright": four})
    print_table(rows)
    mean = {
        name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "digit"
    }
    print_json("digits_ceiling", {"digits": rows, "mean": mean})


if __name__ == "__main__":
    main()
