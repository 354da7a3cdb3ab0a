"""TIFF files, OME's and ImageJ's among them."""

from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from struct import error, unpack
from typing import Any
from xml.etree import ElementTree

import tifffile
import zarr

from ..geometry import InputError
from ._blocks import by_blocks, check_blocks
from ._files import existing_file, reading
from ._units import in_angstrom


def open_tiff(path: Path) -> tuple[Any, str, float | None]:
    """Open the first image of a TIFF file.

    Returns
    -------
    array
        Mapped into memory where the pixels lie in one piece; else read whole, or a Dask array of
        the tiles where they are many.
    str
        A letter for each axis.
    float or None
        Pixel size in Angstrom.

    Raises
    ------
    InputError
        If the file is missing, damaged, or names files outside of its folder.
    """
    path = existing_file(path)
    with reading(path, "a TIFF file"), tifffile.TiffFile(path) as file:
        _check_pages(path, file)
        _check_names(path, file)
        series = file.series[0]
        letters, pixel_size = series.axes.lower(), _pixel_size(file)
        if series.dataoffset is not None and not series.is_multifile:
            return tifffile.memmap(path, series=0, mode="r"), letters, pixel_size
        frame = series.keyframe
        block = frame.chunks
        if not frame.is_tiled:  # of strips, the rows of one may be written as endless
            block = (min(frame.rowsperstrip, frame.imagelength), *block[1:])
        pages = list(series) if series.is_multifile else []
        files = {page.parent.filehandle.path for page in pages if page is not None} or {str(path)}
        sizes = (Path(name).stat().st_size for name in files)
        if check_blocks(path, series.shape, block, series.dtype.itemsize, sizes):
            return series.asarray(), letters, pixel_size
        store = series.aszarr(level=0)
        array = zarr.open_array(store, mode="r")
        return by_blocks(path, array, store.close), letters, pixel_size


def _check_pages(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse pages of which one is followed by an earlier one: tifffile would go on for ever."""
    form, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    handle.seek(8 if form.version == 43 else 4)  # BigTIFF or not
    with suppress(error):  # a chain that only ends too early is tifffile's to judge
        while offset := unpack(form.offsetformat, handle.read(form.offsetsize))[0]:
            if offset in seen:
                raise InputError(f"{path} is damaged: its pages go round in a circle.")
            seen.add(offset)
            handle.seek(offset)
            n_tags = unpack(form.tagnoformat, handle.read(form.tagnosize))[0]
            handle.seek(n_tags * form.tagsize, 1)


def _check_names(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse an OME header that names files elsewhere; those beside it are parts of the image."""
    if not file.is_ome or not file.ome_metadata:
        return
    for element in ElementTree.fromstring(file.ome_metadata).iter():
        name = element.get("FileName", "")
        if name and (PurePosixPath(name).name != name or PureWindowsPath(name).name != name):
            raise InputError(f"{path} names the file {name!r}; parts of an image lie beside it.")


def _pixel_size(file: tifffile.TiffFile) -> float | None:
    """What ImageJ or OME wrote; a plain TIFF's resolution is that of a printer."""
    if file.is_ome and file.ome_metadata:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"].get("Image", {})
        pixels = (pixels[0] if isinstance(pixels, list) else pixels).get("Pixels", {})
        return in_angstrom(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm"))
    resolution = file.pages.first.tags.get("XResolution")
    if not file.is_imagej or resolution is None or not resolution.value[0]:
        return None
    pixels_per_unit, unit = resolution.value, (file.imagej_metadata or {}).get("unit")
    return in_angstrom(pixels_per_unit[1] / pixels_per_unit[0], unit)
