"""Other programs that align subtomograms, run on the same volumes where they are installed.

Both are given the tilt range, and neither the contrast transfer function, as ours.
"""

import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import starfile
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import (
    MissingWedge,
    Poses3D,
    box_centre,
    rotations_from_relion,
    smooth_ball_mask,
)

ACRYO_SEARCHES = ((20.0, 10.0, 0.12), (8.0, 4.0, 0.2), (3.0, 1.5, 0.25))
"""Degrees about each axis, their step, and the finest detail compared, in cycles per voxel.

After each search new averages are made.
"""
_GAP = 24  # voxels between particles, so that none sees another when it turns


class NotInstalled(Exception):
    """A peer is not there."""


def acryo_poses(
    volumes: NDArray[np.float32], start: Poses3D, tilts: tuple[float, float] = (-60.0, 60.0)
) -> Poses3D:
    """Refine poses by acryo: zero-mean cross-correlation with an average, again and again.

    Each half of the particles is compared with the average of the other half: in an average that a
    particle is part of, its noise finds itself, and nothing turns.
    """
    try:
        from acryo import Molecules, SubtomogramLoader
        from acryo.alignment import ZNCCAlignment
        from acryo.tilt import single_axis
    except ImportError as error:
        raise NotInstalled("acryo is not installed (pip install acryo)") from error
    n, side = volumes.shape[:2]
    pitch = side + _GAP
    tomogram = np.zeros((n * pitch, pitch, pitch), np.float32)
    middle = slice(_GAP // 2, _GAP // 2 + side)
    corner = np.full((n, 3), _GAP // 2)
    corner[:, 0] += pitch * np.arange(n)
    for volume, first in zip(volumes, corner[:, 0], strict=True):
        tomogram[first : first + side, middle, middle] = volume
    centre = corner + box_centre(side)
    molecules = Molecules(
        centre + start.translation.double().numpy(),
        Rotation.from_matrix(start.rotation.double().numpy()),  # acryo's axes are z, y, x too
    )
    halves = [
        SubtomogramLoader(
            tomogram,
            molecules.subset(range(first, n, 2)),
            order=1,
            output_shape=(side,) * 3,
            tilt_model=single_axis(tilts, "y"),
        )
        for first in range(2)
    ]
    mask = smooth_ball_mask(side, side / 2 - 3, 3.0).numpy()
    for reach, step, finest in ACRYO_SEARCHES:
        averages = [half.average(wedge_weighting=True) for half in halves]
        halves = [
            half.align(
                average,
                mask=mask,
                max_shifts=3.0,
                alignment_model=ZNCCAlignment,
                rotations=((reach, step),) * 3,
                cutoff=finest,
            )
            for half, average in zip(halves, reversed(averages), strict=True)
        ]
    rotation, position = np.empty((n, 3, 3)), np.empty((n, 3))
    for first, half in enumerate(halves):
        rotation[first::2] = half.molecules.rotator.as_matrix()
        position[first::2] = half.molecules.pos
    return Poses3D(torch.from_numpy(rotation).float(), torch.from_numpy(position - centre).float())


def relion_poses(
    volumes: NDArray[np.float32],
    folder: Path,
    *,
    pixel_size: float,
    iterations: int,
    threads: int,
    seed: int = 0,
    wedge: MissingWedge | None = None,
) -> Poses3D:
    """Align by RELION with no reference but the blurred mean of the particles as they come."""
    if shutil.which("relion_refine") is None:
        raise NotInstalled("RELION is not installed (apt-get install relion)")
    (folder / "run").mkdir(parents=True)
    n, side = volumes.shape[:2]

    def write(name: str, volume: NDArray[np.float32]) -> None:
        with mrcfile.new(folder / name) as file:
            file.set_data(volume.astype(np.float32))
            file.voxel_size = pixel_size

    names = [f"particle_{number:05d}.mrc" for number in range(n)]
    for name, volume in zip(names, volumes, strict=True):
        write(name, volume)
    write("mean.mrc", volumes.mean(0))
    write("wedge.mrc", _measured(side, wedge or MissingWedge()))
    _write_particles(folder / "particles.star", names, side, pixel_size)
    options = {
        **{"--i": "particles.star", "--o": "run/it", "--ref": "mean.mrc", "--ini_high": 60},
        **{"--iter": iterations, "--K": 1, "--tau2_fudge": 4, "--sym": "C1", "--pad": 2},
        **{"--particle_diameter": round(0.85 * side * pixel_size), "--healpix_order": 2},
        **{"--oversampling": 1, "--offset_range": 4, "--offset_step": 2},
        **{"--j": threads, "--random_seed": seed},
    }
    flags = ["--firstiter_cc", "--ctf", "--flatten_solvent", "--zero_mask", "--norm", "--scale"]
    command = ["relion_refine", *flags]
    command += [str(word) for pair in options.items() for word in pair]
    with (folder / "log.txt").open("w") as log:
        ended = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode:
        raise NotInstalled(f"RELION failed: {(folder / 'log.txt').read_text().split()[-20:]}")
    table = starfile.read(folder / "run" / f"it_it{iterations:03d}_data.star")["particles"]
    table = table.set_index("rlnImageName").loc[names]
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    origin = table[["rlnOriginZAngst", "rlnOriginYAngst", "rlnOriginXAngst"]].to_numpy()
    return Poses3D(
        torch.from_numpy(rotations_from_relion(angles)).float(),
        torch.from_numpy(-origin / pixel_size).float(),
    )


def _measured(side: int, wedge: MissingWedge) -> NDArray[np.float32]:
    """Which Fourier coefficients were measured, the lowest in the middle: RELION's 3D CTF."""
    line = torch.arange(side) - float(box_centre(side))
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)
    return wedge.measures(grid).float().numpy()


def _write_particles(path: Path, names: list[str], side: int, pixel_size: float) -> None:
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["simulated"],
        "rlnSphericalAberration": [2.7],
        "rlnVoltage": [300.0],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [pixel_size],
        "rlnImageSize": [side],
        "rlnImageDimensionality": [3],
    }
    particles = {
        "rlnImageName": names,
        "rlnMicrographName": ["tomogram.mrc"] * len(names),
        "rlnCtfImage": ["wedge.mrc"] * len(names),
        "rlnOpticsGroup": [1] * len(names),
    }
    tables = {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(particles)}
    starfile.write(tables, path, overwrite=True)
