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
from ._object_layers import object_layers, read_record
from ._particles import read_halves, read_places, read_wedges, wedges_of
from ._stacks import ImageArray, ParticleStack, read_stack
from ._star import StarFile, read_star, write_star
from ._tables import TABLE_SUFFIXES, check_writable, read_columns, read_table, write_table
from ._units import in_angstrom
from ._viewer import places_on, unit_ratios

__all__ = [
    "IMAGE_SUFFIXES",
    "TABLE_SUFFIXES",
    "ImageArray",
    "ImageFile",
    "ParticleStack",
    "StarFile",
    "atomic_path",
    "check_square",
    "check_writable",
    "in_angstrom",
    "napari_get_reader",
    "napari_save_image",
    "napari_save_points",
    "napari_write_image",
    "napari_write_points",
    "new_mrc",
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
    "wedges_of",
    "write_mrc",
    "write_star",
    "write_table",
]
