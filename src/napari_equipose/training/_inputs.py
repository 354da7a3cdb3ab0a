"""The files of a run, opened, and told from others."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ..io import (
    ImageFile,
    ParticleStack,
    check_square,
    read_ctf,
    read_image,
    read_stack,
    read_table,
)
from ..models import check_finite
from ._examples import read_examples
from ._kinds import check_finds_in, check_kind, finding_in
from ._prepare_run import PreparedRun, prepare_images, prepare_stack
from ._prepare_volumes import prepare_volumes
from ._run_file import TrainingRun
from ._source import common_pixel_size

_SAMPLE = 2**22
"""Values that are hashed of an input, at most."""


@contextmanager
def about(path: str | Path) -> Iterator[None]:
    """Name the file in refusals of what it holds."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def read_large_image(path: str | Path) -> ImageFile:
    """Read one image, grey (y, x) or in colour (y, x, 3).

    Raises
    ------
    InputError
        If the file holds something else.
    """
    image = _only_one(read_image(path))
    if image.axes == "zyx" and image.data.shape[2] == 3:  # colour that is not of 8 bits
        image = image._replace(axes="yxc")
    if image.axes not in ("yx", "yxc") or (image.axes == "yxc" and image.data.shape[2] != 3):
        raise InputError(
            f"{path} has shape {image.data.shape}; wanted one image (y, x), or (y, x, 3) in "
            "colour. A stack of boxes goes without --box-size, to train and to encode."
        )
    check_square(image)
    return image


def _only_one(image: ImageFile) -> ImageFile:
    """Take the image out of a stack of one."""
    if image.axes.startswith("n") and len(image.data) == 1:
        return image._replace(data=image.data[0], axes=image.axes[1:])
    return image


def read_volume(path: str | Path) -> ImageFile:
    """Read one volume (z, y, x), such as a tomogram.

    Raises
    ------
    InputError
        If the file holds something else.
    """
    image = _only_one(read_image(path))
    if image.axes == "nyx":  # planes that are not named, or an MRC file that says it wrongly
        image = image._replace(axes="zyx", spacing=None)  # z is not known
    if image.axes != "zyx":
        raise InputError(
            f"{path} has shape {image.data.shape}; this kind of model finds objects in volumes "
            f"(z, y, x), {finding_in(2)} in images. A stack of boxes goes without --box-size, to "
            "train and to encode."
        )
    check_square(image)
    return image


def read_large(path: str | Path, run: TrainingRun) -> ImageFile:
    """Read a large image, or a volume where the kind of model finds objects in these."""
    return read_volume(path) if _in_volumes(run) else read_large_image(path)


def _in_volumes(run: TrainingRun) -> bool:
    return 3 in check_kind(run.model).model.finds_in


def read_positions(path: str | Path) -> NDArray[np.float64]:
    """Read the columns (y, x) of a table, shape (n, 2).

    Raises
    ------
    InputError
        If the table can't be read or is empty.
    """
    positions = read_table(path, "picks")[["y", "x"]].to_numpy(np.float64)
    if not len(positions):
        raise InputError(f"{path} lists no positions.")
    return positions


class RunInputs:
    """The inputs of a run: large images, volumes, or one stack, not read yet where files allow.

    Raises
    ------
    InputError
        If a file is missing, is damaged, or does not hold what the run wants.
    """

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.names = list(run.images)
        """Of the images that can be used; of several, one may be damaged."""
        self.left_out: dict[str, str] = {}
        """Why the other ones can't be, by name."""
        self.pixel_size = run.pixel_size
        """Angstrom, where the run or the files say it."""
        self.arrays: list[Any] = []
        self.stack: ParticleStack | None = None
        self.positions: NDArray[np.float64] | None = None
        self.examples: list[NDArray[np.float64] | None] | None = None
        """For each image that can be used the centers (y, x) of examples."""
        self.targets: Any = None
        if not run.images:
            raise InputError("no images: name a stack of boxes, or large images with a box size.")
        if run.examples and run.box_size is None:
            raise InputError(
                "examples are objects in large images: give a box size, or no examples."
            )
        if run.examples and run.positions:
            raise InputError(
                "positions say where all boxes are, and examples what to look for: give either."
            )
        if run.box_size is None:
            if len(run.images) > 1:
                raise InputError(
                    f"{len(run.images)} files: to train on several large images give a box size; "
                    "boxes come as one stack."
                )
            self.stack = read_stack(run.images[0])
            self.arrays = [self.stack.images]
            self.pixel_size = run.pixel_size or self.stack.pixel_size
            if run.targets:
                self.targets = read_stack(run.targets).images
            return
        if run.targets:
            raise InputError("aligned targets are for a stack of boxes, not for large images.")
        if run.ctf:
            raise InputError("a CTF is for a stack of particles in a STAR file, not large images.")
        if not run.positions:
            check_finds_in(run.model)
        self._read_images()
        if run.positions:
            if len(run.images) > 1:
                raise InputError("positions are for one image; give one, or no positions.")
            self.positions = read_positions(run.positions)
        if run.examples:
            shapes = {name: a.shape for name, a in zip(self.names, self.arrays, strict=True)}
            self.examples = read_examples(run.examples, run.images, shapes)

    def _read_images(self) -> None:
        """Read large images or volumes; of several, leave out those that can't be used."""
        files: dict[str, ImageFile] = {}
        for name in self.names:
            try:
                file = read_large(name, self.run)
                if len(self.names) > 1:  # else the one is looked at where it is used
                    _check_pixels(name, file, self.run)
                files[name] = file
            except InputError as error:
                if len(self.names) == 1:
                    raise
                self.left_out[name] = str(error)
        if not files:
            first = next(iter(self.left_out.values()))
            raise InputError(f"none of {len(self.names)} images can be used: {first}")
        if self.pixel_size is None:
            self.pixel_size = common_pixel_size({n: file.pixel_size for n, file in files.items()})
        self.names = list(files)
        self.arrays = [file.data for file in files.values()]

    def identities(self) -> list[dict[str, Any]]:
        """Path, shape, type and hash of each input, by which it is known again; plain JSON."""
        found = [
            {"path": name} | identify(data)
            for name, data in zip(self.names, self.arrays, strict=True)
        ]
        if self.positions is not None:
            found.append({"path": self.run.positions} | identify(self.positions))
        if self.examples is not None:
            clicked = np.concatenate([mine for mine in self.examples if mine is not None])
            found.append({"path": self.run.examples} | identify(clicked))
        if self.targets is not None:
            found.append({"path": self.run.targets} | identify(self.targets))
        return found

    def prepare(self) -> PreparedRun:
        """Make boxes and configurations of them.

        Raises
        ------
        InputError
            As `prepare_stack`, `prepare_images` and `prepare_volumes` do.
        """
        with about(", ".join(self.names)):
            return self._prepared()._replace(pixel_size=self.pixel_size)

    def _prepared(self) -> PreparedRun:
        run, stack = self.run, self.stack
        if stack is None and _in_volumes(run):
            return prepare_volumes(run, self.arrays)
        if stack is None:
            positions = None if self.positions is None else [self.positions]
            return prepare_images(run, self.arrays, positions, examples=self.examples)
        run = _with_tilts(run, stack)
        prepared = prepare_stack(run, stack.images, self.targets)  # type: ignore[arg-type]
        return prepared._replace(ctf=read_ctf(stack)) if run.ctf else prepared


def _check_pixels(name: str, image: ImageFile, run: TrainingRun) -> None:
    """Refuse an image that no objects can be looked for in; volumes are read in pieces later."""
    assert run.box_size is not None
    sides = image.data.shape if image.axes == "zyx" else image.data.shape[:2]
    if min(sides) < run.box_size:
        raise InputError(
            f"{name} of {' x '.join(map(str, sides))} pixels is smaller than a box of "
            f"{run.box_size} pixels."
        )
    if image.axes == "zyx":
        return
    with about(name):
        pixels = np.asarray(image.data)
        check_finite(pixels, "the image")
        if not pixels.min() < pixels.max():
            raise InputError("the image is constant: there is nothing to find.")


def _with_tilts(run: TrainingRun, stack: ParticleStack) -> TrainingRun:
    """Take the tilt range of a run that has none from the columns of its STAR file."""
    columns = ["tilt_min", "tilt_max"]
    known = get_type_hints(check_kind(run.model).model.config)
    if "tilt_min_deg" not in known or "tilt_min_deg" in run.settings or stack.table is None:
        return run
    if not set(columns) <= set(stack.table):
        return run
    ranges = stack.table[columns].drop_duplicates()
    if len(ranges) > 1:
        raise InputError(
            f"its columns tilt_min and tilt_max say {len(ranges)} tilt ranges, and a model has "
            "one: give the tilt range that all particles share."
        )
    low, high = ranges.iloc[0]
    return replace(run, settings={**run.settings, "tilt_min_deg": low, "tilt_max_deg": high})


def holds(path: str, data: Any, run: TrainingRun) -> bool:
    """Whether the file of a run's image holds the very pixels that are in memory."""
    try:
        file = read_stack(path).images if run.box_size is None else read_large(path, run).data
        if file.shape != data.shape or file.dtype != data.dtype:
            return False
        return np.array_equal(np.asarray(file), np.asarray(data), equal_nan=data.dtype.kind == "f")
    except (InputError, OSError):
        return False


def identify(data: Any) -> dict[str, Any]:
    """Tell an array from others: its shape, type, and the hash of evenly spaced rows of it.

    Parameters
    ----------
    data : array
        In memory or mapped from a file; at most 4 million values are read.
    """
    row = int(np.prod(data.shape[1:], dtype=np.int64))
    count = max(1, min(len(data), _SAMPLE // max(row, 1)))
    rows = np.unique(np.linspace(0, len(data) - 1, count).round().astype(np.intp))
    sample = np.ascontiguousarray(data[rows])
    digest = hashlib.sha256(sample.tobytes()).hexdigest()[:32]
    return {"shape": list(data.shape), "dtype": np.dtype(data.dtype).str, "sample": digest}


def check_inputs(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> None:
    """Refuse inputs that are not those a run began with.

    Raises
    ------
    InputError
    """
    if len(before) != len(now):
        raise InputError(f"the run began with {len(before)} inputs, and has {len(now)} now.")
    for was, is_ in zip(before, now, strict=True):
        for name, words in (("shape", "shape"), ("dtype", "type"), ("sample", "pixels")):
            if was.get(name) != is_[name]:
                raise InputError(
                    f"{is_['path']} has changed since the run began (its {words}): put the file "
                    "back as it was to resume, or train anew."
                )
