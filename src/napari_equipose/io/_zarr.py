"""Zarr arrays and OME-Zarr images."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from ..geometry import InputError
from ._blocks import by_blocks, check_blocks
from ._files import reading
from ._units import in_angstrom
from ._unpack import bound_chunks

_MANY, _SMALL = 2**18, 2**12
_DEPTH = 4
"""From a plate to a row, a well and an image."""
# What only turns bytes into numbers: numcodecs also has codecs that make objects of them.
_CODECS = frozenset(
    "adler32 astype bitround blosc bytes bz2 crc32 crc32c delta fixedscaleoffset fletcher32 gzip "
    "jenkins_lookup3 lz4 lzma packbits pcodec quantize sharding_indexed shuffle transpose zfpy "
    "zlib zstd".split()
)


class _Folder(LocalStore):
    """A folder of chunks out of which no link leads."""

    def _check(self, key: str) -> None:
        root = self.root.resolve()
        if not (root / key).resolve().is_relative_to(root):
            raise ValueError(f"{key} leads out of the folder")

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        """Read what stands under a key."""
        self._check(key)
        return await super().get(key, *args, **options)

    def get_sync(self, key: str, *args: Any, **options: Any) -> Any:
        """Read what stands under a key, without an event loop."""
        self._check(key)
        return super().get_sync(key, *args, **options)


def open_zarr(path: Path) -> tuple[Any, str | None, dict[str, float]]:
    """Open a Zarr array, or the finest level of an OME-Zarr image.

    Returns
    -------
    array
        Read whole, or a Dask array where it is large.
    str or None
        A letter for each axis, where they have names.
    dict
        Angstrom of a pixel along ``x``, ``y`` and ``z``, as far as the file says.

    Raises
    ------
    InputError
        If there is nothing, or no array of numbers, or several images, or one that leads out of
        its folder.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    with reading(path, "a Zarr array or an OME-Zarr image"):
        node = zarr.open(_Folder(path, read_only=True), mode="r")
        for _ in range(_DEPTH):
            if isinstance(node, zarr.Array):
                return _pixels(path, node), None, {}
            attributes: dict[str, Any] = dict(node.attrs)
            described = attributes.get("ome", attributes)
            if "multiscales" in described:
                break
            node = node[_only_member(path, node, described)]
        image = described["multiscales"][0]
        level = image["datasets"][0]
        array = node[level["path"]]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
        letters = "".join(str(axis["name"]).lower()[:1] for axis in axes)
        # Those of the image come on top of those of its level.
        scale, known = np.ones(len(axes)), False
        for one in (*_steps(level), *_steps(image)):
            if "scale" in one:
                scale, known = scale * np.asarray(one["scale"], np.float64), True
        sizes = {
            letter: size
            for letter, axis, length in zip(letters, axes, scale.tolist(), strict=True)
            if known and (size := in_angstrom(length, axis.get("unit"))) is not None
        }
        return _pixels(path, array), letters, sizes


def _steps(part: dict[str, Any]) -> Any:
    """The transformations of a level or of an image, first to last."""
    return part.get("coordinateTransformations", ())


def _only_member(path: Path, group: Any, described: dict[str, Any]) -> str:
    """What a group that is no image holds, if that is one thing: a plate holds wells."""
    if "plate" in described:
        names, what = [str(well["path"]) for well in described["plate"]["wells"]], "wells"
    elif "well" in described:
        names, what = [str(image["path"]) for image in described["well"]["images"]], "images"
    else:
        names = [str(name) for name, _ in group.members() if name != "OME"]
        what = "arrays or images"
    names = sorted(names)
    if len(names) == 1:
        return names[0]
    here = path / group.path
    if not names:
        raise InputError(f"{here} is not an OME-Zarr image: it is an empty group.")
    few = ", ".join(str(here / name) for name in names[:3])
    more = ", ..." if len(names) > 3 else ""
    raise InputError(f"{here} holds {len(names)} {what}; name one of them: {few}{more}.")


def _pixels(path: Path, array: Any) -> Any:
    """The numbers of an array, once it is known that they are numbers and can be there."""
    if not isinstance(array, zarr.Array):
        raise InputError(f"{path}: its finest level is no array.")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype} values; images are real numbers.")
    unknown = sorted(_codecs(array.metadata.to_dict()) - _CODECS)
    if unknown:
        raise InputError(f"{path} is packed with {', '.join(unknown)}, which is not read.")
    bound_chunks(array)
    n_chunks = prod(-(-side // part) for side, part in zip(array.shape, array.chunks, strict=True))
    if n_chunks > _MANY and prod(array.chunks) * array.dtype.itemsize < _SMALL:
        raise InputError(
            f"{path} is cut into {n_chunks} chunks of {array.chunks} pixels, too small to read so "
            "many; write it again in larger ones."
        )
    sizes = (file.stat().st_size for file in (path / array.path).rglob("*"))
    if check_blocks(path, array.shape, array.chunks, array.dtype.itemsize, sizes):
        return np.asarray(array)
    return by_blocks(path, array)


def _codecs(described: Any) -> set[str]:
    """The names of all codecs in the description of an array of Zarr 2 or 3."""
    if isinstance(described, list | tuple):
        return set().union(*map(_codecs, described))
    if not isinstance(described, dict):
        return set()
    found = {str(described[key]) for key in ("id", "name") if key in described}
    for key in ("codecs", "index_codecs", "filters", "compressor", "configuration"):
        found |= _codecs(described.get(key))
    return {name.removeprefix("numcodecs.") for name in found}
