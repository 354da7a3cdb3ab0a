"""Stacks of particles, read a few images at a time."""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError
from ._images import ImageFile, check_square, read_image
from ._mrc import STACK_SUFFIXES
from ._star import common_pixel_size, pixel_sizes, read_star

_OPEN = 64
"""A mapped file counts as open, and a project has more stacks than a program may open files."""


class ImageArray(Protocol):
    """What a stack of images can do, in memory, mapped from a file, or gathered from many."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Images first."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> NDArray[Any]: ...


class ParticleStack(NamedTuple):
    """Images of particles, all of one size."""

    images: ImageArray
    """(n, y, x), (n, y, x, c) or (n, z, y, x). Slices and index arrays along the first axis
    read just those images; `numpy.asarray` reads all."""
    axes: str
    """``"nyx"``, ``"nyxc"`` or ``"nzyx"``."""
    pixel_size: float | None
    """Angstrom; None where the files do not say."""
    path: Path
    table: pd.DataFrame | None = None
    """Every column of the STAR file, one row an image; None for other files."""
    optics: pd.DataFrame | None = None
    """The optics groups of the STAR file, RELION 3.1 and later."""
    files: tuple[Path, ...] = ()
    """The files that the STAR file names; none for other files."""


class GatheredStack:
    """Images that lie in several stacks, as one array; few of the files are open at a time."""

    def __init__(
        self,
        open_stack: Callable[[int], NDArray[Any]],
        stack_of: NDArray[np.intp],
        row_of: NDArray[np.intp],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        """Take image ``i``, of ``shape``, from row ``row_of[i]`` of stack ``stack_of[i]``."""
        self._open, self._stack_of, self._row_of = lru_cache(_OPEN)(open_stack), stack_of, row_of
        self.dtype = dtype
        self.shape = (len(row_of), *shape)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        """Number of images."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Read the images that an index of the first axis names, then apply the rest of it."""
        first, *rest = index if isinstance(index, tuple) else (index,)
        chosen = np.arange(len(self))[first]
        if chosen.ndim == 0:
            image = self._open(int(self._stack_of[chosen]))[self._row_of[chosen]]
            return np.asarray(image, self.dtype)[tuple(rest)]
        images = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for number in set(self._stack_of[chosen].tolist()):
            here = self._stack_of[chosen] == number
            images[here] = self._open(number)[self._row_of[chosen[here]]]
        return images[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Read all images."""
        images: NDArray[Any] = self[:]
        return images if dtype is None else images.astype(dtype, copy=False)


def read_stack(
    path: str | Path, *, folder: str | Path | None = None, dimensions: int | None = None
) -> ParticleStack:
    """Read a stack of particles.

    Parameters
    ----------
    path : str or Path
        .mrcs .mrc .tif .npy .zarr holding one stack, or a .star whose ``rlnImageName`` says
        ``000001@stack.mrcs``, counted from 1 (RELION 3.0, 3.1, 4, 5).
    folder : str or Path, optional
        Where the stacks a .star names lie. By default they are looked for beside it, in the
        folders above it (RELION's names start at the project's folder), in the working
        folder, and last by their bare names beside it. Names may be absolute, but not climb with
        ``..``. They are only ever read, as images.
    dimensions : int, optional
        Of one particle, where that is known: 2 of images, 3 of volumes. A file of just one of
        them is then a stack of one.

    Raises
    ------
    InputError
        If a file is missing or damaged, is a single image, the images differ in size, or their
        pixels are not square.
    """
    path = Path(path)
    if path.suffix.lower() == ".star":
        return _read_star_stack(path, None if folder is None else Path(folder))
    image = read_image(path)
    axes = image.axes
    if axes.startswith("yx" if dimensions != 3 else "zyx") and _may_be_one(path, dimensions):
        image, axes = image._replace(data=image.data[None]), f"n{axes}"
    elif axes == "zyx":
        axes = "nyx"
        image = image._replace(spacing=image.spacing and image.spacing[1:])
    check_square(image)
    if not axes.startswith("n"):
        raise InputError(
            f"{path} is a single image of shape {image.data.shape}, not a stack of particles; "
            "give a box size to find the particles in it."
        )
    return ParticleStack(image.data, axes, image.pixel_size, path)


def _may_be_one(path: Path, dimensions: int | None) -> bool:
    """Whether a single image, or volume, is a stack of one particle."""
    return dimensions is not None or path.suffix.lower() in STACK_SUFFIXES


def _read_star_stack(path: Path, folder: Path | None) -> ParticleStack:
    star = read_star(path)
    if "rlnImageName" not in star.particles:
        raise InputError(
            f"{path} has no column rlnImageName: it lists positions, not images. "
            "Extract the particles first, or read the micrograph and give a box size."
        )
    if star.particles.empty:
        raise InputError(f"{path} lists no particles.")
    if star.tilt_stacks:
        raise InputError(
            f"{path} lists stacks of tilts (rlnTomoSubTomosAre2DStacks), not volumes; extract the "
            "particles as 3D subtomograms."
        )
    names = star.particles["rlnImageName"].astype(str)
    parts = names.str.extract(r"^(?:(\d{1,9})@)?(.+)$")
    if parts[1].isna().any():
        first = int(parts[1].isna().argmax())
        raise InputError(f"{path}, row {first + 1}: {names.iloc[first]!r} names no image.")
    # cryoSPARC writes > for the folder of its project, where RELION writes nothing.
    files, inverse = np.unique(parts[1].str.removeprefix(">").to_numpy(str), return_inverse=True)
    stack_of = inverse.astype(np.intp)
    found = [_find_stack(name, path, folder) for name in files]
    missing = [name for name, file in zip(files, found, strict=True) if file is None]
    if missing:
        raise InputError(
            f"{path} names {len(missing)} of {len(files)} image files that are not there, the "
            f"first of them {missing[0]}. Looked for it from {folder or path.resolve().parent} "
            "and the folders above; run from the project's folder, or put them beside the .star."
        )
    _check_found(path, files.tolist(), found)
    whole = parts[0].isna().to_numpy(bool)

    def open_stack(number: int) -> ImageFile:
        file = found[number]
        assert file is not None
        image = read_image(file)
        check_square(image)
        one = image.data.ndim == 2 or whole[stack_of == number].any()  # no n@: one particle
        return image._replace(data=image.data[None]) if one else image

    row_of = np.asarray(parts[0].fillna("1"), np.intp) - 1
    opened = [_Outline.of(open_stack(number)) for number in range(len(files))]
    _check_rows(path, names, opened, stack_of, row_of)
    shape, dtype = opened[0].shape, np.result_type(*(outline.dtype for outline in opened))
    images = GatheredStack(lambda number: open_stack(number).data, stack_of, row_of, shape, dtype)
    axes = {3: "nyx", 4: "nyxc" if opened[0].colour else "nzyx"}.get(images.ndim)
    if axes is None:
        raise InputError(f"{path} names stacks of {shape}; a particle is an image or a volume.")
    pixel_size = common_pixel_size(path, pixel_sizes(star)) or opened[0].pixel_size
    there = tuple(file for file in found if file is not None)
    return ParticleStack(images, axes, pixel_size, path, star.particles, star.optics, there)


def _check_found(star: Path, names: list[str], found: list[Path | None]) -> None:
    """Refuse two names that lead to one file, where a folder in one of them was not there.

    Raises
    ------
    InputError
    """
    first_of: dict[Path, tuple[str, bool]] = {}
    for name, file in zip(names, found, strict=True):
        if file is None:
            continue
        parts = Path(name).parts
        moved = file.parts[-len(parts) :] != parts
        first, first_moved = first_of.setdefault(file.resolve(), (name, moved))
        if first != name and (moved or first_moved):
            raise InputError(
                f"{star} names {first} and {name}, of which only {file} is there, so that it can't "
                "be told which particles are in it; put both where the names say."
            )


class _Outline(NamedTuple):
    """What is kept of a stack while its file is closed."""

    n: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    colour: bool
    pixel_size: float | None

    @classmethod
    def of(cls, image: ImageFile) -> "_Outline":
        n, *shape = image.data.shape
        colour = image.axes.endswith("c")
        return cls(n, tuple(shape), image.data.dtype, colour, image.pixel_size)


def _check_rows(
    path: Path,
    names: "pd.Series[str]",
    stacks: list[_Outline],
    stack_of: NDArray[np.intp],
    row_of: NDArray[np.intp],
) -> None:
    lengths = np.array([stack.n for stack in stacks])[stack_of]
    beyond = (row_of < 0) | (row_of >= lengths)
    if beyond.any():
        first = int(beyond.argmax())
        raise InputError(
            f"{path}, row {first + 1}: {names.iloc[first]} is not there; the stack has "
            f"{lengths[first]} images, counted from 1."
        )
    sizes = {stack.shape for stack in stacks}
    if len(sizes) > 1:
        raise InputError(
            f"{path} names images of several sizes, {sorted(sizes)}; one stack has one size."
        )


def _find_stack(name: str, star: Path, folder: Path | None) -> Path | None:
    """The file a STAR file means by a name that may start at the project's folder.

    A relative name stays within the folder it is looked for in, and no name leads to another
    machine; what is found is only ever read, as an image.
    """
    given = Path(name)
    if ".." in given.parts or name.startswith(("//", "\\\\")):
        return None
    here = star.resolve().parent
    if folder is not None:
        candidates = [folder / name, folder / given.name]
    else:
        roots = [here, *here.parents, Path.cwd()]
        candidates = [*(root / name for root in roots), here / given.name]
    return next((file for file in candidates if os.path.exists(file)), None)
