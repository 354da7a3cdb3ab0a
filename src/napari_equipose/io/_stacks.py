"""Stacks of particles, read a few images at a time."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError
from ._images import read_image
from ._star import common_pixel_size, pixel_sizes, read_star


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


class GatheredStack:
    """Images that lie in several stacks, as one array."""

    def __init__(
        self, stacks: list[NDArray[Any]], stack_of: NDArray[np.intp], row_of: NDArray[np.intp]
    ) -> None:
        """Take image ``i`` from row ``row_of[i]`` of ``stacks[stack_of[i]]``."""
        self._stacks, self._stack_of, self._row_of = stacks, stack_of, row_of
        self.dtype: np.dtype[Any] = np.result_type(*(stack.dtype for stack in stacks))
        self.shape: tuple[int, ...] = (len(row_of), *stacks[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        """Number of images."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Read the images that an index of the first axis names, then apply the rest of it."""
        first, *rest = index if isinstance(index, tuple) else (index,)
        chosen = np.arange(len(self))[first]
        if chosen.ndim == 0:
            image = self._stacks[self._stack_of[chosen]][self._row_of[chosen]]
            return np.asarray(image, self.dtype)[tuple(rest)]
        images = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for number in set(self._stack_of[chosen].tolist()):
            here = self._stack_of[chosen] == number
            images[here] = self._stacks[number][self._row_of[chosen[here]]]
        return images[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Read all images."""
        images: NDArray[Any] = self[:]
        return images if dtype is None else images.astype(dtype, copy=False)


def read_stack(path: str | Path, *, folder: str | Path | None = None) -> ParticleStack:
    """Read a stack of particles.

    Parameters
    ----------
    path : str or Path
        .mrcs .mrc .tif .npy .zarr holding one stack, or a .star whose ``rlnImageName`` says
        ``000001@stack.mrcs``, counted from 1 (RELION 3.0, 3.1, 4, 5).
    folder : str or Path, optional
        Where the stacks a .star names lie. By default they are looked for beside it, in the
        folders above it (RELION's names start at the project's folder), in the working
        folder, and last by their bare names beside it.

    Raises
    ------
    InputError
        If a file is missing or damaged, is a single image, or the images differ in size.
    """
    path = Path(path)
    if path.suffix.lower() == ".star":
        return _read_star_stack(path, None if folder is None else Path(folder))
    image = read_image(path)
    axes = {"zyx": "nyx"}.get(image.axes, image.axes)
    if not axes.startswith("n"):
        raise InputError(
            f"{path} is a single image of shape {image.data.shape}, not a stack of particles; "
            "give a box size to find the particles in it."
        )
    return ParticleStack(image.data, axes, image.pixel_size, path)


def _read_star_stack(path: Path, folder: Path | None) -> ParticleStack:
    star = read_star(path)
    if "rlnImageName" not in star.particles:
        raise InputError(
            f"{path} has no column rlnImageName: it lists positions, not images. "
            "Extract the particles first, or read the micrograph and give a box size."
        )
    if star.particles.empty:
        raise InputError(f"{path} lists no particles.")
    names = star.particles["rlnImageName"].astype(str)
    parts = names.str.extract(r"^(?:(\d+)@)?(.+)$")
    files, inverse = np.unique(parts[1].to_numpy(str), return_inverse=True)
    stack_of = inverse.astype(np.intp)
    found = [_find_stack(name, path, folder) for name in files]
    missing = [name for name, file in zip(files, found, strict=True) if file is None]
    if missing:
        raise InputError(
            f"{path} names {len(missing)} of {len(files)} image files that are not there, the "
            f"first of them {missing[0]}. Looked for it from {folder or path.resolve().parent} "
            "and the folders above; run from the project's folder, or put them beside the .star."
        )
    whole = parts[0].isna().to_numpy(bool)
    opened = [read_image(file) for file in found if file is not None]
    stacks = [_as_stack(image.data, whole[stack_of == i].any()) for i, image in enumerate(opened)]
    row_of = np.asarray(parts[0].fillna("1"), np.intp) - 1
    _check_rows(path, names, stacks, stack_of, row_of)
    images = GatheredStack(stacks, stack_of, row_of)
    axes = {3: "nyx", 4: "nyxc" if opened[0].axes.endswith("c") else "nzyx"}[images.ndim]
    pixel_size = common_pixel_size(path, pixel_sizes(star)) or opened[0].pixel_size
    return ParticleStack(images, axes, pixel_size, path, star.particles, star.optics)


def _as_stack(data: NDArray[Any], whole: bool) -> NDArray[Any]:
    """A name without ``n@`` is a file that is one particle."""
    return data[None] if whole or data.ndim == 2 else data


def _check_rows(
    path: Path,
    names: "pd.Series[str]",
    stacks: list[NDArray[Any]],
    stack_of: NDArray[np.intp],
    row_of: NDArray[np.intp],
) -> None:
    lengths = np.array([len(stack) for stack in stacks])[stack_of]
    beyond = (row_of < 0) | (row_of >= lengths)
    if beyond.any():
        first = int(beyond.argmax())
        raise InputError(
            f"{path}, row {first + 1}: {names.iloc[first]} is not there; the stack has "
            f"{lengths[first]} images, counted from 1."
        )
    sizes = {stack.shape[1:] for stack in stacks}
    if len(sizes) > 1:
        raise InputError(
            f"{path} names images of several sizes, {sorted(sizes)}; one stack has one size."
        )


def _find_stack(name: str, star: Path, folder: Path | None) -> Path | None:
    """The file a STAR file means by a name that may start at the project's folder."""
    here = star.resolve().parent
    if folder is not None:
        candidates = [folder / name, folder / Path(name).name]
    else:
        roots = [here, *here.parents, Path.cwd()]
        candidates = [*(root / name for root in roots), here / Path(name).name]
    return next((file for file in candidates if file.exists()), None)
