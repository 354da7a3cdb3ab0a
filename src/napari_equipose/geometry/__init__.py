"""Poses, grids, rotated filters, resampling, missing wedge: the one page of conventions.

* **Axes** run (z,) y, x, as napari shows them. Lengths are pixels and angles radians;
  degrees and Angstrom exist only in files, on the command line and in forms.
* **Centre**: the centre of a box of ``n`` pixels is pixel ``n // 2``, for odd and even ``n``
  alike (the origin of the discrete Fourier transform, and RELION's centre). Positions are
  0-based and integer at pixel centres.
* **Pose**: ``x_image = R x_canonical + t``: the object at rest is turned about its origin
  first, then shifted.
* **Sign**: a rotation in the plane is positive counter-clockwise as napari displays it, with
  y pointing down. `numpy.rot90` turns that way, and so does RELION's ``rlnAnglePsi``.
* **Rotations of space** are matrices that act on columns (z, y, x). Files carry RELION's angles:
  on columns (x, y, z) the matrix from the reference to the particle is the transpose of scipy's
  ``Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True)``, and ``rlnOrigin*Angst`` is ``-t``
  times the pixel size.
* **Tilt**: the beam runs along z. A tilt by ``a`` about y measures the plane ``k_z = tan(a) k_x``
  of the Fourier transform (IMOD's sign), one about x the plane ``k_z = -tan(a) k_y``.

Rooms above rely on these; nothing here knows of models, files or viewers.
"""

from ._boxes import extract_boxes, extract_cubes
from ._constants import constant, numbers_like
from ._ctf import ContrastTransfer
from ._errors import InputError, as_numbers, check_array, check_type
from ._filters import rotate_filters, smooth_ball_mask, smooth_disc_mask
from ._grids import box_centre, centred_grid
from ._lie_groups import GROUPS, Similarity, exponential_map, group_size
from ._limits import MAX_VALUES, check_limits, check_voxels, symmetry_group
from ._poses import Poses, rotation_matrix_2d, wrap_angle
from ._poses3d import Poses3D
from ._resampling import apply_poses, fourier_crop, remove_poses, resample
from ._rotations import (
    random_rotations,
    rotation_from_6d,
    rotation_to_6d,
    rotations_from_relion,
    rotations_to_relion,
    swap_axis_order,
    turn_about,
)
from ._wedge import MissingWedge, fourier_ball, fourier_grid
from ._wedge_seen import find_wedge, refuse_untold_wedge

__all__ = [
    "GROUPS",
    "MAX_VALUES",
    "ContrastTransfer",
    "InputError",
    "MissingWedge",
    "Poses",
    "Poses3D",
    "Similarity",
    "apply_poses",
    "as_numbers",
    "box_centre",
    "centred_grid",
    "check_array",
    "check_limits",
    "check_type",
    "check_voxels",
    "constant",
    "exponential_map",
    "extract_boxes",
    "extract_cubes",
    "find_wedge",
    "fourier_ball",
    "fourier_crop",
    "fourier_grid",
    "group_size",
    "numbers_like",
    "random_rotations",
    "refuse_untold_wedge",
    "remove_poses",
    "resample",
    "rotate_filters",
    "rotation_from_6d",
    "rotation_matrix_2d",
    "rotation_to_6d",
    "rotations_from_relion",
    "rotations_to_relion",
    "smooth_ball_mask",
    "smooth_disc_mask",
    "swap_axis_order",
    "symmetry_group",
    "turn_about",
    "wrap_angle",
]
