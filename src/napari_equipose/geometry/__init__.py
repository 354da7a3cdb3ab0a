"""Poses, grids, rotated filters and resampling: the one page of conventions.

* **Axes** run (z,) y, x, as napari shows them. Lengths are pixels and angles radians;
  degrees and Angstrom exist only in files, on the command line and in forms.
* **Centre**: the centre of a box of ``n`` pixels is pixel ``n // 2``, for odd and even ``n``
  alike (the origin of the discrete Fourier transform, and RELION's centre). Positions are
  0-based and integer at pixel centres.
* **Pose**: ``x_image = R x_canonical + t``: the object at rest is turned about its origin
  first, then shifted.
* **Sign**: a rotation in the plane is positive counter-clockwise as napari displays it, with
  y pointing down. `numpy.rot90` turns that way, and so does RELION's ``rlnAnglePsi``.

Rooms above rely on these; nothing here knows of models, files or viewers.
"""

from ._boxes import extract_boxes
from ._ctf import ContrastTransfer
from ._errors import InputError
from ._filters import rotate_filters, smooth_disc_mask
from ._grids import box_centre, centred_grid
from ._poses import Poses, rotation_matrix_2d, wrap_angle
from ._resampling import apply_poses, remove_poses

__all__ = [
    "ContrastTransfer",
    "InputError",
    "Poses",
    "apply_poses",
    "box_centre",
    "centred_grid",
    "extract_boxes",
    "remove_poses",
    "rotate_filters",
    "rotation_matrix_2d",
    "smooth_disc_mask",
    "wrap_angle",
]
