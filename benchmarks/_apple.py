"""The APPLE picker (Heimowitz, Anden and Singer 2018) as a peer, in a Python of its own.

It comes with ``pip install aspire``, which is no dependency of ours: make an environment for it
and give its Python to ``field.py --apple``. This file is also the program that runs there.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORKING_DIAMETER = 42.0
"""Pixels: it halves images and was made for particles of many pixels, so smaller ones are
enlarged to this."""
_SIZES = (1.0, 1.25)
_TAUS = ((60, 1200), (120, 2400), (250, 2400), (250, 1500))
"""Windows taken for particles, and for anything but noise, of the windows of an image of 1024 x
1024 pixels with particles of 42: its defaults are for 4000 x 4000 pixels."""
_MARGIN = 12
"""Pixels at the border that it does not look at; its own 100 are for large micrographs."""


def apple_picks(
    python: str, image: NDArray[Any], diameter: float, timeout: float = 900
) -> list[NDArray[np.float64]]:
    """Pick with each of eight settings.

    Parameters
    ----------
    python : str
        Interpreter of an environment that has ``aspire``.
    image : array, shape (y, x)
        Particles dark.
    diameter : float
        Of the particles, in pixels.
    timeout : float
        Seconds after which it is given up.

    Returns
    -------
    list of array, shape (n, 2)
        Centers (y, x) in pixels, for each setting that gave an answer; none if it can't run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "image.npy"
        np.save(path, image.astype(np.float32))
        command = [python, str(Path(__file__).resolve()), str(path), str(diameter)]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, timeout=timeout, check=True
            )  # in a folder of its own, where it leaves logs
        except (OSError, subprocess.SubprocessError) as error:
            print(f"APPLE: {error}", file=sys.stderr)
            return []
    last = done.stdout.decode().strip().splitlines()[-1]
    return [np.array(found, float).reshape(-1, 2) for found in json.loads(last)]


def main() -> None:
    """Pick in one image, in the environment of aspire; print the centers as JSON."""
    import mrcfile  # these two are the environment's
    from aspire.apple.apple import Apple
    from scipy import ndimage

    path, diameter = Path(sys.argv[1]), float(sys.argv[2])
    image = np.load(path)
    shape = np.array(image.shape)
    image = np.pad(image, [(0, more) for more in shape.max() - shape], "symmetric")  # to a square
    zoom = max(1.0, WORKING_DIAMETER / diameter)
    image = ndimage.zoom(image, zoom, order=1, grid_mode=True, mode="nearest")
    windows = image.size / 1024**2 * (WORKING_DIAMETER / (diameter * zoom)) ** 2
    with mrcfile.new(path.with_suffix(".mrc")) as file:  # of no voxel size: it refuses any other
        file.set_data(image.astype(np.float32))
    results = []
    for size in _SIZES:
        for tau1, tau2 in _TAUS:
            settings = {
                f"mrc_margin_{side}": _MARGIN for side in ("left", "right", "top", "bottom")
            }
            try:
                picker = Apple(
                    round(size * diameter * zoom),
                    tau1=max(1, round(tau1 * windows)),
                    tau2=max(2, round(tau2 * windows)),
                    conv_map_nthreads=1,
                    **settings,
                )
                x_y = picker.process_micrograph_centers(str(path.with_suffix(".mrc")))
            except (ValueError, IndexError, AssertionError) as error:
                print(error, file=sys.stderr)
                continue
            centers = (np.asarray(x_y, float).reshape(-1, 2)[:, ::-1] + 0.5) / zoom - 0.5
            results.append(centers[(centers < shape).all(1)].round(2).tolist())
    print(json.dumps(results))


if __name__ == "__main__":
    main()
