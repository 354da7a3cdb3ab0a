"""Units of length in files, in Angstrom."""

from math import isfinite

_ANGSTROM = {
    "angstrom": 1.0,
    "å": 1.0,
    "nm": 10.0,
    "nanometer": 10.0,
    "um": 1e4,
    "µm": 1e4,
    "μm": 1e4,
    "\\u00b5m": 1e4,
    "micron": 1e4,
    "microns": 1e4,
    "micrometer": 1e4,
    "mm": 1e7,
    "millimeter": 1e7,
}


def in_angstrom(size: object, unit: object) -> float | None:
    """A length as a TIFF, OME or Zarr file gives it, if it is one."""
    factor = _ANGSTROM.get(str(unit).lower())
    if factor is None or isinstance(size, bool) or not isinstance(size, int | float):
        return None
    length = float(size) * factor
    return length if isfinite(length) and length > 0 else None
