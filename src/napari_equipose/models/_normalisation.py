"""Scaling pictures, so that a model sees the same whatever a file's type, gain and offset."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry import InputError

_MAD_TO_STD = 1.4826


def check_finite(image: NDArray[Any], what: str) -> None:
    """Refuse pixels that are no numbers, with how many there are and what can be done.

    Raises
    ------
    InputError
    """
    n = image.size - int(np.isfinite(image).sum())
    if n:
        raise InputError(
            f"{what} holds {n:,} NaN or infinite pixels of {image.size:,}: crop them off, or fill "
            "them with its median, as numpy.nan_to_num(a, nan=numpy.nanmedian(a)) does."
        )


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """How intensities are scaled; kept in the model file.

    Every picture is scaled by its own statistics, so that uint8, uint16 or float32 versions of
    one picture, or a changed gain or offset, give the same result. Only "shared" keeps gain and
    offset, for systems that infer them.
    """

    kind: Literal["standard", "unit", "shared"] = "standard"
    """"standard": background removed, unit contrast, outliers cut; for real-valued pixels.
    "unit": from 0 to 1; for pixels that are off or on. "shared": all pictures by the ``level``
    and the ``spread`` of the training set."""
    background_sigma: float | None = None
    """Of a large image, slow changes are removed: standard deviation, in pixels, of the Gaussian
    that estimates the background. By default only the median is removed."""
    polarity: Literal["dark", "bright"] | None = None
    """Of the objects of a large image of little noise. What is brighter than the surroundings of
    dark objects, such as halos and gaps, is levelled, lest it is learnt as an object; and the
    other way round. Of noisy images it would cut half of the noise: leave it out."""
    clip: float = 6.0
    """Of all but "unit": values beyond so many standard deviations are cut."""
    level: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("standard", "unit", "shared"):
            raise InputError(f"normalisation must be standard, unit or shared, got {self.kind!r}.")
        if not self.spread > 0:
            raise InputError(f"the spread of a normalisation must be positive, got {self.spread}.")

    @classmethod
    def shared_by(cls, stack: NDArray[Any]) -> "Normalisation":
        """Scale all boxes of a stack alike: to a mean of 0 and a standard deviation of 1.

        Raises
        ------
        InputError
            If the stack is constant or holds NaN.
        """
        pixels = np.asarray(stack, np.float32)
        level, spread = float(pixels.mean(dtype=float)), float(pixels.std(dtype=float))
        if not (np.isfinite(level) and 0 < spread < np.inf):
            raise InputError("the stack is constant, or holds NaN or infinite pixels.")
        return cls(kind="shared", level=level, spread=spread)

    def of_stack(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Scale each box of a stack (n, [channels,] y, x) on its own.

        Raises
        ------
        InputError
            If a box is constant or holds NaN; names the first.
        """
        scaled = np.array(images, np.float32)
        axes = tuple(range(1, scaled.ndim))
        bad = ~np.isfinite(scaled).all(axes)
        if bad.any():
            first = int(bad.argmax())
            check_finite(scaled[first], f"box {first} of the stack")
        low, high = scaled.min(axes, keepdims=True), scaled.max(axes, keepdims=True)
        flat = (high <= low).reshape(len(scaled))
        if flat.any():
            raise InputError(f"box {int(flat.argmax())} of the stack is constant; remove it.")
        if self.kind == "unit":
            unit: NDArray[np.float32] = (scaled - low) / (high - low)
            return unit
        if self.kind == "shared":
            return self._shared(scaled)
        scaled -= scaled.mean(axes, keepdims=True)
        scaled /= scaled.std(axes, keepdims=True)
        return np.clip(scaled, -self.clip, self.clip, out=scaled)

    def of_image(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Scale a whole large image (y, x) or (y, x, 3); its tiles then agree.

        Raises
        ------
        InputError
            If the image is constant or holds NaN.
        """
        scaled = np.array(image, np.float32)
        check_finite(scaled, "the image")
        if self.kind == "shared":
            return self._shared(scaled)
        low, high = np.percentile(scaled, (0.05, 99.95)).astype(np.float32)
        if not high > low:
            low, high = scaled.min(), scaled.max()
        if not high > low:
            raise InputError("the image is constant: there is nothing to find.")
        # Hot pixels and ice crystals must not set the scale nor leak into the background.
        spread = high - low
        np.clip(scaled, low - spread, high + spread, out=scaled)
        if self.kind == "unit":
            scaled -= low
            scaled /= high - low
            return np.clip(scaled, 0, 1, out=scaled)
        if self.background_sigma is None:
            scaled -= np.median(scaled)
            scaled /= _MAD_TO_STD * np.median(np.abs(scaled)) or scaled.std()
            return np.clip(scaled, -self.clip, self.clip, out=scaled)
        sigma = (self.background_sigma,) * 2
        grey = scaled.mean(-1) if scaled.ndim == 3 else scaled
        background = ndimage.gaussian_filter(grey, sigma, mode="reflect")
        contrast = np.sqrt(ndimage.gaussian_filter((grey - background) ** 2, sigma, mode="reflect"))
        # An empty stretch is left empty, not blown up to the contrast of the objects.
        contrast = np.maximum(contrast, np.percentile(contrast, 95) / 2)
        if scaled.ndim == 3:
            background, contrast = background[..., None], contrast[..., None]
        scaled -= background
        scaled /= contrast
        low, high = -self.clip, self.clip
        if self.polarity == "dark":
            high = 0.0
        elif self.polarity == "bright":
            low = 0.0
        return np.clip(scaled, low, high, out=scaled)

    def _shared(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = (pixels - self.level) / self.spread
        return np.clip(scaled, -self.clip, self.clip, out=scaled)
