"""Whether what was cut from a picture is found in it again, turned."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import peak_local_max
from torch import Tensor

from ..geometry import Poses, apply_poses, smooth_disc_mask

_TURNS = 24
_AT_A_TIME = 6
_SEEDS = 4
"""Objects that are looked for again; some may be dirt."""
_LARGEST = 600
"""Side of the middle of a picture that is searched, in pixels."""
_APART = 0.35
"""In boxes."""
_FALSE = 0.1


def above_chance(values: NDArray[np.floating[Any]], chance: NDArray[np.floating[Any]]) -> int:
    """Count the highest values that may be taken so that a tenth of them is chance."""
    falling = np.sort(values)[::-1]
    false = len(chance) - np.searchsorted(np.sort(chance), falling, side="left")
    good = np.flatnonzero(false <= _FALSE * np.arange(1, len(falling) + 1))
    return int(good[-1]) + 1 if len(good) else 0


def count_recurrences(
    picture: NDArray[np.float32],
    usable: NDArray[np.bool_],
    places: NDArray[np.floating[Any]],
    box: int,
) -> int:
    """Cut out the first few places, and count how often the one that recurs most does.

    What fits by chance is known from noise of the same spectrum: no more than a tenth of what
    is counted is chance.

    Parameters
    ----------
    picture : ndarray of float32, shape (y, x)
        In which noise is white and of variance one.
    usable : ndarray of bool, shape (y, x)
    places : ndarray, shape (n, 2)
        The surest first.
    box : int
        Size of an object in pixels.
    """
    start = np.maximum((np.array(picture.shape) - _LARGEST) // 2, 0)
    window = tuple(slice(s, s + _LARGEST) for s in start)
    part = np.ascontiguousarray(picture[window])
    reach = (box + 4) // 2
    here = np.round(places - start).astype(int)
    inside = ((here >= reach) & (here < np.array(part.shape) - reach)).all(1)
    seen, noise = _TurnedSearch(part, reach), _TurnedSearch(_noise_like(part), reach)
    most = 0
    for y, x in here[inside][:_SEEDS]:
        cut = torch.from_numpy(part[y - reach : y + reach + 1, x - reach : x + reach + 1])
        found = _peaks(seen.best(cut), usable[window], box)
        chance = _peaks(noise.best(cut), usable[window], box)
        most = max(most, above_chance(found, chance))
    return most


def _noise_like(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw noise that has the spectrum of a picture, and as much of it as its quieter parts."""
    white = np.random.default_rng(0).standard_normal(picture.shape)
    spectrum = np.abs(np.fft.rfft2(picture))
    noise = np.fft.irfft2(np.fft.rfft2(white) * spectrum, s=picture.shape)
    noise *= 0.6745 / np.median(np.abs(noise))
    return np.asarray(noise, np.float32)


def _peaks(
    response: NDArray[np.float32], usable: NDArray[np.bool_], box: int
) -> NDArray[np.float32]:
    response = np.where(usable, response, 0)
    places = peak_local_max(
        response, min_distance=round(_APART * box), threshold_abs=1e-3, exclude_border=False
    )
    return np.asarray(response[tuple(places.T)])


class _TurnedSearch:
    """Correlates a picture with a small one at all rotations."""

    def __init__(self, picture: NDArray[np.float32], reach: int) -> None:
        self.shape, self.reach = picture.shape, reach
        self.padded = [side + 2 * reach for side in picture.shape]
        self.frequencies = torch.fft.rfft2(torch.from_numpy(picture), s=self.padded)
        self.mask = smooth_disc_mask(2 * reach + 1, reach + 0.5, edge=3.0)

    def best(self, cut: Tensor) -> NDArray[np.float32]:
        """Correlation at the best rotation at each pixel, (y, x), in deviations of white noise."""
        cut = cut * self.mask
        cut = cut / cut.norm().clamp(min=1e-9)
        best = torch.full(self.shape, -torch.inf)
        for turn in (torch.arange(_TURNS) * (2 * torch.pi / _TURNS)).split(_AT_A_TIME):
            poses = Poses(turn, torch.zeros(len(turn), 2))
            turned = apply_poses(cut.expand(len(turn), 1, -1, -1), poses)[:, 0]
            back = torch.fft.rfft2(turned.flip(-1, -2), s=self.padded)
            whole = torch.fft.irfft2(self.frequencies * back, s=self.padded)
            best = torch.maximum(best, self._same(whole).amax(0))
        return np.asarray(best.numpy())

    def _same(self, whole: Tensor) -> Tensor:
        height, width = self.shape
        return whole[:, self.reach : self.reach + height, self.reach : self.reach + width]
