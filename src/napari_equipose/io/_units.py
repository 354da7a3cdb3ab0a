"""Units of length in files and layers, in Angstrom."""

from math import isfinite

_ANGSTROM = {
    **dict.fromkeys(("angstrom", "angstroms", "å", "ångström"), 1.0),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-2),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 10.0),
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micrometer", "micrometre"), 1e4),
    **dict.fromkeys(("micron", "microns"), 1e4),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e7),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e8),
    **dict.fromkeys(("m", "meter", "metre"), 1e10),
    **dict.fromkeys(("inch", "in"), 2.54e8),
}


def in_angstrom(size: object, unit: object) -> float | None:
    """A length as a TIFF, OME or Zarr file or a layer gives it, if it is one."""
    factor = _ANGSTROM.get(str(unit).lower())
    if factor is None or isinstance(size, bool) or not isinstance(size, int | float):
        return None
    length = float(size) * factor
    return length if isfinite(length) and length > 0 else None
