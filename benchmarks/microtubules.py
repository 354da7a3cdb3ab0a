"""Align subtomograms cut along real microtubules, and look for the 4 nm repeat of tubulin.

    python benchmarks/microtubules.py FOLDER [-o PICTURE.png]

The tomograms (13pf_MT.tif and 14pf_MT.tif, voxels of 1.052 nm) are of the cylindra project. Boxes
are cut every 6 voxels along the axis of each tube, at no particular phase of its lattice, so that
their plain mean has no repeat. They are refined from there, without a reference, the two ends of
the tube kept apart. Compared are the power of the averages at each spatial frequency along the
axis, summed across it: monomers repeat every 4 nm, on a helix, so that it is not on the axis
itself.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from _report import print_json, print_table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import MissingWedge, Poses3D
from napari_equipose.inference import RefinementConfig, average_volumes, finish, refine
from napari_equipose.io import read_image

TUBES = ("13pf_MT.tif", "14pf_MT.tif")
VOXEL = 1.052  # nm
BOX, STEP, RADIUS = 32, 6, 15  # voxels
WEDGE = MissingWedge.of_range(-66.0, 66.0, "y")
"""The tomograms' power falls off a hundredfold between 60 and 70 degrees, in planes across y."""
REPEAT = (3.7, 4.4)  # nm
NEARBY = (3.0, 5.5)  # nm, with which the repeat is compared


class Aligned(NamedTuple):
    """Averages of one tube."""

    before: NDArray[np.float32]  # (z, y, x)
    after: NDArray[np.float32]
    halves: NDArray[np.float32]  # (2, z, y, x)
    n: int
    resolution: float  # nm


def axis(tomogram: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centre (z, x) of a tube that runs along y, at each y: a parabola, found step by step."""
    smooth = ndimage.gaussian_filter(tomogram, 3)
    weight = np.clip(smooth - np.median(smooth), 0, None)
    z, y, x = np.indices(tomogram.shape)
    along, inner = np.arange(tomogram.shape[1]), slice(BOX // 4, -BOX // 4)
    near = np.ones(tomogram.shape)
    for _ in range(8):
        mass = (weight * near).sum((0, 2))
        fits = [np.polyfit(along[inner], ((weight * near * place).sum((0, 2)) / mass)[inner], 2)
                for place in (z, x)]  # fmt: skip
        centre = np.stack([np.polyval(fit, along) for fit in fits], 1)
        near = np.hypot(z - centre[y, 0], x - centre[y, 1]) < RADIUS
    return centre


def cut(tomogram: NDArray[np.float32]) -> tuple[NDArray[np.float32], Poses3D]:
    """Boxes along the tube, and poses that bring its axis to y."""
    centre, half = axis(tomogram), BOX // 2
    boxes, turns, shifts = [], [], []
    for y in range(half, tomogram.shape[1] - half + 1, STEP):
        at = np.array([centre[y, 0], y, centre[y, 1]])
        corner = np.round(at).astype(int) - half
        corner = np.clip(corner, 0, np.array(tomogram.shape) - BOX)
        boxes.append(tomogram[tuple(slice(low, low + BOX) for low in corner)])
        shifts.append(at - corner - half)
        slope = centre[min(y + 8, len(centre) - 1)] - centre[max(y - 8, 0)]
        tangent = np.array([slope[0], min(y + 8, len(centre) - 1) - max(y - 8, 0), slope[1]])
        turn, _ = Rotation.align_vectors([tangent / np.linalg.norm(tangent)], [[0, 1, 0]])
        turns.append(turn.as_matrix())
    poses = (torch.from_numpy(np.stack(part)).float() for part in (turns, shifts))
    return np.stack(boxes), Poses3D(*poses)


def align(path: Path, seed: int) -> Aligned:
    """Average the boxes of a tube as they were cut, and refined."""
    tomogram = np.asarray(read_image(path).data, np.float32)
    boxes, start = cut((tomogram - tomogram.mean()) / tomogram.std())
    config = RefinementConfig(angular_step_deg=4.0, max_shift=4.0, seed=seed)
    # boxes overlap; those of the two ends of a tube share no noise, but for the ones in the middle
    half = (np.arange(len(boxes)) >= len(boxes) / 2).astype(int)
    found = finish(refine(boxes, start, WEDGE, config, half))
    before = average_volumes(boxes, start, WEDGE)
    resolution = found.correlation.resolution() * VOXEL
    return Aligned(before, found.average, found.halves, len(boxes), resolution)


def power_along(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Real part of the cross power of two volumes at each frequency along y, summed across it."""
    a, b = (np.fft.fftn(volume) for volume in (first, second))
    power: NDArray[np.float64] = (a * b.conj()).real.sum((0, 2))[: BOX // 2]
    return power


def repeat(power: NDArray[np.float64]) -> float:
    """Power at the repeat over that of the frequencies nearby."""
    period = BOX * VOXEL / np.maximum(np.arange(len(power)), 1e-9)
    inside = (period > REPEAT[0]) & (period < REPEAT[1])
    nearby = (period > NEARBY[0]) & (period < NEARBY[1]) & ~inside
    return float(power[inside].max() / np.median(power[nearby]))


def picture(tubes: dict[str, Aligned], path: Path) -> None:
    """Sections along both tubes before and after, and their power along the axis."""
    figure = Figure(figsize=(9, 3.2 * len(tubes)), layout="constrained")
    axes = figure.subplots(len(tubes), 3, squeeze=False)
    for row, (name, tube) in zip(axes, tubes.items(), strict=True):
        for place, title, volume in zip(row, ("as cut", "aligned"), tube[:2], strict=False):
            middle = volume[BOX // 2 - 9 : BOX // 2 - 5].mean(0)  # through one wall
            place.imshow(middle, cmap="gray")
            place.set_title(f"{name}: mean of {tube.n}, {title}", fontsize=9)
            place.set_axis_off()
        cycles = np.arange(BOX // 2) / (BOX * VOXEL)
        row[2].semilogy(cycles[3:], power_along(tube.before, tube.before)[3:], label="as cut")
        row[2].semilogy(cycles[3:], power_along(tube.after, tube.after)[3:], label="aligned")
        row[2].axvline(1 / 4.08, color="grey", linewidth=0.8)
        row[2].set_xlabel("cycles per nm along y; line: 1 / 4.08 nm")
        row[2].set_ylabel("power")
        row[2].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Align both tubes, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the tomograms")
    parser.add_argument("-o", "--output", type=Path, help="a picture")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tubes = {name[:4]: align(arguments.folder / name, arguments.seed) for name in TUBES}
    rows: list[dict[str, Any]] = []
    for name, tube in tubes.items():
        rows.append(
            {
                "tube": name,
                "boxes": tube.n,
                "repeat_as_cut": repeat(power_along(tube.before, tube.before)),
                "repeat_aligned": repeat(power_along(tube.after, tube.after)),
                "repeat_between_halves": repeat(power_along(*tube.halves)),
                "resolution_nm": tube.resolution,
            }
        )
    print_table(rows)
    print_json("microtubules", {"seed": arguments.seed, "tubes": rows})
    if arguments.output is not None:
        picture(tubes, arguments.output)


if __name__ == "__main__":
    main()
