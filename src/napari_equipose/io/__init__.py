"""Files in and out: images, stacks of particles, tables of poses and picks.

Pixel sizes are in Angstrom and angles in degrees here, at the border, and nowhere further in.
`read_image` and `read_stack` map files into memory where the format allows; what is written is
there whole or not at all. A file that can't be used is an `napari_equipose.geometry.InputError`.
"""

from ._columns import pick_table, pose_table
from ._ctf import read_ctf
from ._files import atomic_path
from ._images import IMAGE_SUFFIXES, ImageFile, check_square, read_image
from ._mrc import new_mrc, write_mrc
from ._napari import (
    napari_get_reader,
    napari_save_image,
    napari_save_points,
    napari_write_image,
    napari_write_points,
)
from ._object_layers import BY_HAND as BY_HAND_COLUMN
from ._object_layers import ID as ROW_ID
from ._object_layers import (
    arrow_arguments,
    arrow_rows,
    defaults_of,
    hidden_size,
    is_measured,
    layer_arguments,
    new_result,
    object_colors,
    object_layers,
    read_record,
    unmeasured,
    with_identity,
)
from ._particles import read_halves, read_places, read_wedges, wedges_of
from ._stacks import ImageArray, ParticleStack, read_stack
from ._star import StarFile, read_star, write_star
from ._tables import TABLE_SUFFIXES, check_writable, read_columns, read_table, write_table
from ._units import in_angstrom
from ._viewer import places_on, unit_ratios

__all__ = [
    "BY_HAND_COLUMN",
    "IMAGE_SUFFIXES",
    "ROW_ID",
    "TABLE_SUFFIXES",
    "ImageArray",
    "ImageFile",
    "ParticleStack",
    "StarFile",
    "arrow_arguments",
    "arrow_rows",
    "atomic_path",
    "check_square",
    "check_writable",
    "defaults_of",
    "hidden_size",
    "in_angstrom",
    "is_measured",
    "layer_arguments",
    "napari_get_reader",
    "napari_save_image",
    "napari_save_points",
    "napari_write_image",
    "napari_write_points",
    "new_mrc",
    "new_result",
    "object_colors",
    "object_layers",
    "pick_table",
    "places_on",
    "pose_table",
    "read_columns",
    "read_ctf",
    "read_halves",
    "read_image",
    "read_places",
    "read_record",
    "read_stack",
    "read_star",
    "read_table",
    "read_wedges",
    "unit_ratios",
    "unmeasured",
    "wedges_of",
    "with_identity",
    "write_mrc",
    "write_star",
    "write_table",
]
