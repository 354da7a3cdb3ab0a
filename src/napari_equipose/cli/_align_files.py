"""What ``equipose align`` writes."""

from collections.abc import Generator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd

from .. import io
from ..geometry import InputError
from ..inference import AlignedStack, Notice, Progress, outside, place_back
from ._outputs import Output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..inference import Alignment, ClassAverage
    from ..io import ImageFile, ParticleStack


_CLASSES = 100
"""Averages whose names are kept free where their number is not known before the work."""


def output_files(
    aligned: Path,
    poses: Path,
    average: Path | None,
    tomogram: Path | None,
    classes: int | Literal["auto"] | None,
) -> list[Output]:
    """Name all that ``equipose align`` may write, for a look at it before the work."""
    files = [Output("-o", aligned, (".mrcs", ".mrc")), Output("--poses", poses, (".csv", ".star"))]
    if tomogram is not None:
        files.append(Output("the placed averages", placed_of(aligned)))
    if average is None:
        return files
    files.append(Output("--average", average, (".mrc",)))
    many = classes if isinstance(classes, int) else _CLASSES
    by_class = [_beside(average, f"class{label}.mrc") for label in range(many)]
    endings = ("half1.mrc", "half2.mrc", "fsc.csv", "frc.csv")
    beside = [_beside(one, ending) for one in (average, *by_class) for ending in endings]
    return files + [Output("beside --average,", path) for path in by_class + beside]


def placed_of(aligned: Path) -> Path:
    """The volume of averages at their places, by the name of the aligned stack."""
    return _beside(aligned, "placed.mrc")


class Outputs(NamedTuple):
    """Which files are wanted, and what the stack says that they keep."""

    aligned: Path
    poses: Path
    average: Path | None
    tomogram: "ImageFile | None"
    tomogram_path: Path | None
    stack: "ParticleStack"
    n_outside: int = 0
    """Particles of the tomogram that lie outside it."""

    @classmethod
    def of(
        cls,
        aligned: Path,
        poses: Path,
        average: Path | None,
        tomogram: Path | None,
        stack: "ParticleStack",
    ) -> "Outputs":
        """Refuse before the work what can't be written after it."""
        if stack.axes == "nyxc":
            raise InputError(
                f"{stack.path} is in colour, which MRC files do not hold; align grey images."
            )
        shown, n_outside = None, 0
        if tomogram is not None:
            _, places = io.read_places(stack, tomogram)
            shown = io.read_image(tomogram)
            _check_tomogram(tomogram, shown, stack)
            n_outside = _count_outside(places, shown, stack)
        return cls(aligned, poses, average, shown, tomogram, stack, n_outside)

    @property
    def notice(self) -> Notice | None:
        """Say how many particles lie outside the tomogram, if some do."""
        if not self.n_outside or self.tomogram is None:
            return None
        return Notice(
            f"{self.n_outside} particles of {self.stack.path.name} lie outside "
            f"{self.tomogram.path.name} of shape {self.tomogram.data.shape}, where none is placed"
        )

    @property
    def placed(self) -> Path:
        """The volume of averages at their places."""
        return placed_of(self.aligned)

    def write_all(self, found: "Alignment") -> Generator[Progress, None, None]:
        """Write all, the aligned stack, which takes longest, last."""
        self.write_poses(found)
        self.write_averages(found)
        if self.tomogram is not None:
            yield Progress(0, 1, "placing back")
            self.write_placed(found)
        images = self.stack.images
        encoding, n = found.encoding, len(found.half)
        scale = encoding.scale if images.ndim == 3 else None
        aligned = AlignedStack(images, encoding.rotation, encoding.translation, scale)
        axes = {3: "nyx", 4: "nzyx"}[aligned.ndim]
        pixel_size = self.stack.pixel_size
        with io.new_mrc(self.aligned, aligned.shape, pixel_size, axes=axes) as write:
            for row in range(n):
                write(aligned[row])
                yield Progress(row + 1, n, "writing the aligned stack")

    def write_poses(self, found: "Alignment") -> None:
        """Write the table of poses."""
        encoding = found.encoding
        table = io.pose_table(
            encoding.rotation,
            encoding.translation,
            encoding.score,
            encoding.content,
            classes=found.label,
            scale=encoding.scale,
            contrast=encoding.contrast,
            brightness=encoding.brightness,
            half=found.half,
        )
        io.write_table(self.poses, table, stack=self.stack)

    def write_averages(self, found: "Alignment") -> None:
        """Write the average of each class, those of its halves, and their correlation."""
        if self.average is None:
            return
        for one in found.averages:
            path = self._average_of(one, found)
            pixel_size = self.stack.pixel_size
            io.write_mrc(path, one.average, pixel_size)
            for number, half in enumerate(one.halves, 1):
                io.write_mrc(_beside(path, f"half{number}.mrc"), half, pixel_size)
            curve = pd.DataFrame({"frequency": one.correlation.frequency})
            curve["correlation"] = one.correlation.correlation
            if pixel_size is not None:
                curve.insert(1, "frequency_per_angstrom", curve["frequency"] / pixel_size)
            curve["independent_halves"] = one.independent
            with io.atomic_path(_curve(path, one)) as temporary:
                curve.to_csv(temporary, index=False, float_format="%.8g")

    def write_placed(self, found: "Alignment") -> None:
        """Write a volume like the tomogram with the averages at their places."""
        assert self.tomogram is not None and self.tomogram_path is not None
        rows, places = io.read_places(self.stack, self.tomogram_path)
        encoding = found.encoding
        volume = place_back(
            [one.average for one in found.averages],
            places + encoding.translation[rows],
            encoding.rotation[rows],
            None if found.label is None else found.label[rows],
            self.tomogram.data.shape,
        )
        io.write_mrc(self.placed, volume, self.tomogram.pixel_size)

    def values(self, found: "Alignment") -> dict[str, Any]:
        """What is told as JSON."""
        told: dict[str, Any] = {"aligned": str(self.aligned), "poses": str(self.poses)}
        if self.tomogram is not None:
            told |= {"placed": str(self.placed), "outside": self.n_outside}
        told["classes"] = []
        for one in found.averages:
            pixels, size = one.correlation.resolution(), self.stack.pixel_size
            agree = isfinite(pixels)
            entry: dict[str, Any] = {"class": None if found.label is None else one.label}
            entry |= {"n": one.n, "resolution_pixels": pixels if agree else None}
            entry["resolution"] = pixels * size if agree and size is not None else None
            entry["independent_halves"] = one.independent
            if agree and one.caveat:
                entry["caveat"] = one.caveat
            if self.average is not None:
                path = self._average_of(one, found)
                entry |= {"average": str(path), "correlation": str(_curve(path, one))}
            told["classes"].append(entry)
        return told

    def describe(self, found: "Alignment") -> str:
        """What is told in words, a line for each class."""
        lines = [f"{self.aligned}: {len(found.half)} particles aligned, poses in {self.poses}"]
        for one in found.averages:
            name = "average" if found.label is None else f"class {one.label}"
            lines.append(f"{name}: {one.n} particles, {self._resolution(one)}")
        return "\n".join(lines)

    def _resolution(self, one: "ClassAverage") -> str:
        pixels = one.correlation.resolution()
        if not isfinite(pixels):
            return "its halves do not agree"
        size = self.stack.pixel_size
        detail = f"{pixels:.1f} pixels" if size is None else f"{pixels * size:.1f} Angstrom"
        text = f"its halves agree up to {detail} (0.143)"
        return "; ".join(filter(None, (text, one.caveat)))

    def _average_of(self, one: "ClassAverage", found: "Alignment") -> Path:
        """The file of a class average; one alone has the name that was given."""
        assert self.average is not None
        alone = found.label is None or found.label.max() == 0
        return self.average if alone else _beside(self.average, f"class{one.label}.mrc")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}_{ending}")


def _curve(path: Path, one: "ClassAverage") -> Path:
    return _beside(path, "fsc.csv" if one.average.ndim == 3 else "frc.csv")


def _count_outside(
    places: "NDArray[np.float64]", image: "ImageFile", stack: "ParticleStack"
) -> int:
    """Count places outside a tomogram; refuse it where that is all of them."""
    out = outside(places, image.data.shape)
    if out.all():
        low, high = (tuple(map(float, edge)) for edge in (places.min(0), places.max(0)))
        raise InputError(
            f"all {len(places)} particles of {stack.path} lie outside {image.path} of shape "
            f"{image.data.shape}: their coordinates (z, y, x) run from {low} to {high}. Are they "
            "those of a tomogram that is not binned? Divide them by the binning."
        )
    return int(out.sum())


def _check_tomogram(path: Path, image: "ImageFile", stack: "ParticleStack") -> None:
    """Refuse a tomogram of other voxels than the stack's."""
    if image.data.ndim != 3:
        raise InputError(f"{path} is no volume, but an image with axes {image.axes}.")
    if stack.axes != "nzyx":
        raise InputError(f"{stack.path} holds images; only volumes are placed in a tomogram.")
    shown, cut = image.pixel_size, stack.pixel_size
    if shown is not None and cut is not None and abs(shown / cut - 1) > 0.02:
        raise InputError(
            f"{path} has voxels of {shown:g} Angstrom and {stack.path} of {cut:g}; give the "
            "tomogram that the boxes were cut from."
        )
