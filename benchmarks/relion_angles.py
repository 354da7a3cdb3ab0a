"""Let RELION average subtomograms by the poses that `equipose align` wrote, and compare.

    equipose simulate subtomograms MAP.pdb -o sim --n 40 --snr 0.3
    equipose train sim/subtomograms.star --model harmony --tilt-range -60 60 -o m.safetensors
    equipose align m.safetensors sim/subtomograms.star -o a.mrcs --poses p.star --average avg.mrc
    python benchmarks/relion_angles.py sim/subtomograms.mrcs p.star avg.mrc [--class 1]

`relion_reconstruct` (Debian's package relion) reads the angles and origins of ``p.star`` by its
own rules. Its average agrees with ours only if both mean the same by them. As a check that can
fail, the same is done with each rotation inverted, and with the origins' signs turned.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import starfile
from _report import print_json, print_table
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
ORIGIN = ["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]
SMOOTH = 1.0  # voxels: the finest shells are interpolation, which the programs do differently


def reconstructed(folder: Path, optics: pd.DataFrame, particles: pd.DataFrame) -> NDArray[Any]:
    """Average by RELION."""
    starfile.write({"optics": optics, "particles": particles}, folder / "in.star", overwrite=True)
    command = ["relion_reconstruct", "--i", "in.star", "--o", "out.mrc", "--3d_rot"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return np.array(mrcfile.read(folder / "out.mrc"))


def likeness(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Correlation of two volumes within the ball that holds the object."""
    side = first.shape[0]
    grid = np.indices(first.shape) - side // 2
    ball = np.sqrt((grid**2).sum(0)) < side // 2 - 2
    smooth = [ndimage.gaussian_filter(volume, SMOOTH)[ball] for volume in (first, second)]
    return float(np.corrcoef(*smooth)[0, 1])


def main() -> None:
    """Compare, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stack", type=Path, help="the subtomograms (.mrcs), as they were aligned")
    parser.add_argument("poses", type=Path, help="STAR file that 'equipose align' wrote")
    parser.add_argument("average", type=Path, help="our average (.mrc)")
    parser.add_argument("--class", dest="name", type=int, help="average those of one class")
    arguments = parser.parse_args()
    tables = starfile.read(arguments.poses, always_dict=True)
    optics, particles = tables["optics"], tables["particles"]
    if arguments.name is not None:
        particles = particles[particles["rlnClassNumber"] == arguments.name]
    ours, boxes = np.array(mrcfile.read(arguments.average)), mrcfile.mmap(arguments.stack).data
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = particles["rlnImageName"].str.split("@").str[0].astype(int) - 1
        for row in rows:
            with mrcfile.new(folder / f"{row}.mrc") as file:
                file.set_data(np.asarray(boxes[row], np.float32))
                file.voxel_size = float(optics["rlnImagePixelSize"].iloc[0])
        particles = particles.assign(rlnImageName=[f"{row}.mrc" for row in rows])
        turned = Rotation.from_euler("ZYZ", particles[ANGLES].to_numpy(), degrees=True)
        inverted = particles.copy()
        inverted[ANGLES] = turned.inv().as_euler("ZYZ", degrees=True)
        shifted = particles.copy()
        shifted[ORIGIN] = -shifted[ORIGIN]
        variants = {"as written": particles, "rotations inverted": inverted}
        variants["origins of the other sign"] = shifted
        found = {
            what: likeness(reconstructed(folder, optics, table), ours)
            for what, table in variants.items()
        }
    print_table([{"poses": what, "correlation": value} for what, value in found.items()])
    print_json("relion_angles", {"particles": len(particles), **found})


if __name__ == "__main__":
    main()
