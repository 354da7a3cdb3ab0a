"""One image, turned again and again: how well the rotation that is found follows."""

import numpy as np
import numpy.typing as npt

from napari_equipose.geometry import InputError


def turning_rmse(
    predicted: npt.ArrayLike, turned: npt.ArrayLike, unturned: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Root mean square error of the rotations found of each image in many turns.

    Whatever is found of the image as it stands counts as its rotation of zero, so that no frame
    has to be known. A model that tells nothing has an error of about 104 degrees.

    Parameters
    ----------
    predicted : array_like, shape (n, k)
        Rotations found of each of ``n`` images in ``k`` turns, in radians.
    turned : array_like, shape (n, k) or (k,)
        By how much the images were turned, in radians.
    unturned : array_like, shape (n,)
        Rotations found of the images as they stand, in radians.

    Returns
    -------
    ndarray, shape (n,)
        Degrees, from 0 to 180.

    Raises
    ------
    InputError
        If the arrays do not fit together.

    References
    ----------
    A. Nasiri and T. Bepler, TARGET-VAE, NeurIPS 2022, appendix A.3 and Table 3.
    """
    found, still = np.asarray(predicted, float), np.asarray(unturned, float)
    turns = np.asarray(turned, float)
    fits = found.ndim == 2 and found.size and still.shape == found.shape[:1]
    if not fits or turns.shape not in (found.shape, found.shape[1:]):
        raise InputError(
            f"predicted must be (n, k), turned (n, k) or (k,) and unturned (n,), got "
            f"{found.shape}, {turns.shape} and {still.shape}."
        )
    error = np.angle(np.exp(1j * (found - still[:, None] - turns)))
    rmse: npt.NDArray[np.float64] = np.degrees(np.sqrt((error**2).mean(1)))
    return rmse
