"""TIFF files, OME's and ImageJ's among them."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def open_tiff(path: Path) -> tuple[Any, str, dict[str, float]]:
    """Open the first image of a TIFF file.

    Returns
    -------
    array
        Mapped into memory where the pixels lie in one piece; else read whole, or a Dask array of
        the tiles where they are many.
    str
        A letter for each axis.
    dict
        Angstrom of a pixel along ``x``, ``y`` and ``z``, as far as the file says.

    Raises
    ------
    InputError
        If the file is missing, damaged, or names files outside of its folder.
    """
    path = existing_file(path)
    with reading(path, "a TIFF file"), _silently(), tifffile.TiffFile(path) as file:
        _check_pages(path, file)
        _check_names(path, file)
        series = file.series[0]
        letters, sizes = series.axes.lower(), _pixel_sizes(file)
        if series.dataoffset is not None and not series.is_multifile:
            return tifffile.memmap(path, series=0, mode="r"), letters, sizes
        frame = series.keyframe
        block = frame.chunks
        if not frame.is_tiled:  # of strips, the rows of one may be written as endless
            block = (min(frame.rowsperstrip, frame.imagelength), *block[1:])
        pages = list(series) if series.is_multifile else []
        files = {page.parent.filehandle.path for page in pages if page is not None} or {str(path)}
        packed = (Path(name).stat().st_size for name in files)
        if check_blocks(path, series.shape, block, series.dtype.itemsize, packed):
            return series.asarray(), letters, sizes
        store = series.aszarr(level=0)
        array = zarr.open_array(store, mode="r")
        return by_blocks(path, array, store.close), letters, sizes


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


def _pixel_sizes(file: tifffile.TiffFile) -> dict[str, float]:
    """What ImageJ or OME wrote; a plain TIFF's resolution is that of a printer."""
    sizes: dict[str, float | None] = {}
    if file.is_ome and file.ome_metadata:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"].get("Image", {})
        pixels = (pixels[0] if isinstance(pixels, list) else pixels).get("Pixels", {})
        for axis in "xyz":
            name = f"PhysicalSize{axis.upper()}"
            sizes[axis] = in_angstrom(pixels.get(name), pixels.get(f"{name}Unit", "µm"))
    elif file.is_imagej:
        known = file.imagej_metadata or {}
        for axis in "xy":
            resolution = file.pages.first.tags.get(f"{axis.upper()}Resolution")
            if resolution is not None and resolution.value[0]:
                pixels_per_unit = resolution.value
                size = pixels_per_unit[1] / pixels_per_unit[0]
                sizes[axis] = in_angstrom(size, known.get(f"{axis}unit", known.get("unit")))
        sizes["z"] = in_angstrom(known.get("spacing"), known.get("unit"))
    return {axis: size for axis, size in sizes.items() if size is not None}


@contextmanager
def _silently() -> Iterator[None]:
    """Keep what tifffile logs of a damaged file to itself: it is refused in our own words."""

    def hide(_: logging.LogRecord) -> bool:
        return threading.get_ident() != here

    here, logger = threading.get_ident(), logging.getLogger("tifffile")
    logger.addFilter(hide)
    try:
        yield
    finally:
        logger.removeFilter(hide)
