"""Objects in noise by their power: where more of the frequencies that recur is than in noise."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import median_abs_deviation, multivariate_t
from skimage.feature import peak_local_max

from ..geometry import InputError
from ._recurrence import above_chance, count_recurrences
from ._scaled_tiles import ScaledTile, scaled_tiles

BOX = 28
"""Pixels of a box in the pictures that are searched."""
_SAMPLED = 4
"""Tiles of each image that are learned from."""
_TOO_STRONG = 8.0
"""Deviations of a blurred picture beyond which something is ice or dirt, and is left out."""
_BLUR = 0.1
_CLIP = 6.0
_WINDOW = 0.2
"""Standard deviation of the window that power is measured in, in boxes."""
_APART = 0.35
"""Least distance between objects, in boxes."""
_BORDER = 1 / 6
"""Of the image, where no object is looked for, in boxes."""
_QUIET = 0.3
"""Part of the patches that are noise alone, at first."""
_MOST_POWER = 0.95
"""Quantile of the power of patches beyond which more counts no more: dirt is strong."""
_FACTORS = 30
_LOWEST = (1, 2, 3)
"""Waves in a box, of the lowest frequency that may be of objects: below may be uneven ice."""
_FEWEST = 8
_SPREAD = 0.7
"""Largest standard deviation of the logarithms of power among objects of one kind."""
_FREEDOM, _NUISANCE_FREEDOM = 6.0, 3.0
_ROUNDS = 40
_SURE = 4.0
"""Log odds by which a factor of e of power below the least changes the verdict."""


class PowerObjects(NamedTuple):
    """Peaks of the power of one image, the likeliest objects first."""

    positions: NDArray[np.float64]
    """Shape (n, 2): (y, x) in pixels of the image."""
    log_odds: NDArray[np.float64]
    """Shape (n,): that each is an object."""

    def select(self, rows: NDArray[Any] | slice) -> "PowerObjects":
        """Return those of some rows."""
        return PowerObjects(*(column[rows] for column in self))


class PowerModel(NamedTuple):
    """How the power of objects in noise is known; goes into the record of a model."""

    box_size: int
    """Pixels of the images."""
    noise: NDArray[np.float64]
    """Shape (k,): power of the noise at 0 to k - 1 waves in a box."""
    signal: NDArray[np.float64]
    """Shape (k,): power that an object adds."""
    mean: NDArray[np.float64]
    """Shape (2, 2): of objects and of noise, the logarithms of power and of misfit."""
    covariance: NDArray[np.float64]
    """Shape (2, 2, 2)."""
    share: NDArray[np.float64]
    """Shape (3,): of objects, noise and nuisances among the peaks of power."""
    least: float
    """Logarithm of the power above which no more than a tenth is noise."""

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            name: np.round(value, 5).tolist() if isinstance(value, np.ndarray) else value
            for name, value in self._asdict().items()
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "PowerModel":
        """Read what `to_record` made.

        Raises
        ------
        InputError
            If it is something else.
        """
        try:
            arrays = {
                name: np.array(record[name], float)
                for name in ("noise", "signal", "mean", "covariance", "share")
            }
            return cls(box_size=int(record["box_size"]), least=float(record["least"]), **arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the model's record of powers is damaged: {error}") from error

    def find(self, image: NDArray[Any]) -> PowerObjects:
        """Find all peaks of power of an image, the likeliest objects first.

        Parameters
        ----------
        image : array, shape (y, x) or (y, x, channels)
            At the pixel size at which the powers were learned.
        """
        columns = []
        for tile in scaled_tiles(image, self.box_size, BOX, band_limited=True):
            peaks = _Whitened(_Flat.of_tile(tile), self.noise, self.signal).peaks()
            positions = tile.in_image(peaks.positions)
            own = tile.owns(positions) & _off_the_border(positions, image.shape, self.box_size)
            columns.append((positions[own], self.log_odds(peaks.features[own])))
        positions, odds = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.argsort(-odds, kind="stable")
        return PowerObjects(positions[order], odds[order])

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm of the odds, (n,), that peaks of these features (n, 2) are objects."""
        objects, *others = _log_densities(features, self.mean, self.covariance, self.share)
        odds = objects - np.logaddexp(*others)
        return np.minimum(odds, _SURE * (features[:, 0] - self.least))


class PowerFound(NamedTuple):
    """A way to explain images by the power that recurs."""

    model: PowerModel
    recurrences: int
    """How often the strongest objects were found again, turned."""


def learn_power(images: Sequence[NDArray[Any]], box_size: int) -> list[PowerFound]:
    """Learn which power recurs in noisy images, in several ways; possibly none, the best first.

    An image is noise of one spectrum, to which objects add power of another one, each some of it
    (Eldar, Landa and Shkolnisky, "KLT picker", Journal of Structural Biology 2020). The two are
    factors of the spectra of its patches. Objects are where a window holds more of that power
    than noise does, and about as much, and as well fitting, as most of the others. What has
    power and does not recur is told by this: cut from the image and turned, the strongest ones
    are found again nowhere.

    Parameters
    ----------
    images : sequence of array, shape (y, x) or (y, x, channels)
    box_size : int
        Of an object, in pixels.
    """
    flats = [
        _Flat.of_tile(tile)
        for image in images[:_SAMPLED]
        for tile in scaled_tiles(image, box_size, BOX, _SAMPLED, band_limited=True)
    ]
    spectra = np.concatenate([_patch_spectra(flat) for flat in flats])
    if len(spectra) < _FEWEST:
        return []
    ways = []
    for lowest in _LOWEST:
        noise, signal = _factors(spectra, lowest)
        found = _learn(flats, box_size, noise, signal)
        if found is not None:
            ways.append(found)
    return sorted(ways, key=lambda way: -way.recurrences)


def _learn(
    flats: Sequence["_Flat"],
    box_size: int,
    noise: NDArray[np.float64],
    signal: NDArray[np.float64],
) -> PowerFound | None:
    rng = np.random.default_rng(0)
    white = [_Whitened(flat, noise, signal) for flat in flats]
    empty = [_Whitened(flat.noise_alone(noise, rng), noise, signal) for flat in flats]
    peaks = np.concatenate([each.peaks().features for each in white])
    chance = np.concatenate([each.peaks().features for each in empty])
    strongest = white[0].peaks()
    many = above_chance(peaks[:, 0], chance[:, 0])
    if many < _FEWEST or not len(chance):
        return None
    least = float(np.sort(peaks[:, 0])[-many])
    mean, covariance, share = _kinds(peaks, chance, least)
    model = PowerModel(box_size, noise, signal, mean, covariance, share, least)
    recurrences = count_recurrences(white[0].picture, white[0].usable, strongest.positions, BOX)
    return PowerFound(model, recurrences)


class _Flat(NamedTuple):
    """A picture without its slow changes and its dirt."""

    picture: NDArray[np.float32]
    """(y, x): standard deviation one; zero where it is not usable."""
    usable: NDArray[np.bool_]

    @classmethod
    def of_tile(cls, tile: ScaledTile) -> "_Flat":
        """Flatten the gray of a tile; what is far too strong for noise and objects is dirt."""
        gray = tile.components[0]
        usable = np.ones(gray.shape, bool)
        flat = gray
        for _ in range(4):
            weight = ndimage.gaussian_filter(usable.astype(np.float32), BOX)
            ground = ndimage.gaussian_filter(np.where(usable, gray, 0), BOX)
            flat = gray - ground / np.maximum(weight, 1e-3)
            blurred = ndimage.gaussian_filter(flat, _BLUR * BOX)
            usual = median_abs_deviation(blurred[usable], scale="normal")
            strong = np.abs(blurred) > _TOO_STRONG * usual
            again = ~ndimage.binary_dilation(strong, iterations=round(_BLUR * BOX))
            if (again == usable).all() or not again.any():
                break
            usable = again
        flat = np.where(usable, flat, 0)
        return cls((flat / (flat[usable].std() + 1e-9)).astype(np.float32), usable)

    def noise_alone(self, noise: NDArray[np.float64], rng: np.random.Generator) -> "_Flat":
        """Draw a picture of noise of a spectrum, with the same part usable."""
        white = rng.standard_normal(self.picture.shape)
        filtered = _filtered(white, np.sqrt(noise))
        return _Flat((filtered * self.usable).astype(np.float32), self.usable)


class _Peaks(NamedTuple):
    positions: NDArray[np.float64]  # (n, 2), pixels of the picture
    features: NDArray[np.float64]  # (n, 2): logarithms of power and of misfit; strongest first


class _Whitened:
    """A picture in which noise is white, and frequencies count by how much of them is signal."""

    def __init__(
        self, flat: _Flat, noise: NDArray[np.float64], signal: NDArray[np.float64]
    ) -> None:
        self.usable = flat.usable
        self._noise, self._signal = noise, signal
        white = _filtered(flat.picture, np.sqrt(signal / (noise * (noise + signal))))
        level = float(median_abs_deviation(white[flat.usable], scale="normal")) + 1e-9
        self.picture = (np.clip(white / level, -_CLIP, _CLIP) * flat.usable).astype(np.float32)
        self._flat = flat.picture

    def peaks(self) -> _Peaks:
        """Peaks of the power in a window."""
        power = ndimage.gaussian_filter(self.picture**2, _WINDOW * BOX)
        power -= np.median(power)
        power[~self.usable] = 0
        places = peak_local_max(
            power, min_distance=round(_APART * BOX), threshold_abs=1e-3, exclude_border=False
        )
        strength = np.log(power[tuple(places.T)])
        features = np.stack([strength, self._misfit(places)], 1)
        return _Peaks(places.astype(float), features.astype(float))

    def _misfit(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Tell how little the spectra at some places are those of an object in noise."""
        if not len(places):
            return np.empty(0)
        ring, count, window = _rings()
        reach = BOX // 2
        padded = np.pad(self._flat, reach + 1, mode="reflect")
        boxes = np.stack([padded[y + 1 : y + 1 + BOX, x + 1 : x + 1 + BOX] for y, x in places])
        seen = _ring_means(np.abs(np.fft.fft2(boxes * window)) ** 2, ring, count) / self._noise
        ratio = self._signal / self._noise
        wanted = np.flatnonzero(ratio > 0.02 * ratio.max())
        used = slice(1, min(wanted.max() + 2, len(ratio)))
        ratio, seen, count = ratio[used], seen[:, used], count[used]
        amount = ((seen - 1) * count * ratio).sum(1) / (count * ratio**2).sum()
        part = seen / (1 + np.maximum(amount, 0.01)[:, None] * ratio)
        misfit = (count / 2 * (part - 1 - np.log(np.maximum(part, 1e-3)))).sum(1) / len(count)
        return np.asarray(np.log(misfit + 0.1))


def _off_the_border(
    positions: NDArray[np.float64], shape: tuple[int, ...], box_size: int
) -> NDArray[np.bool_]:
    least = _BORDER * box_size
    inner = (positions >= least) & (positions < np.array(shape[:2]) - least)
    return np.asarray(inner.all(1))


def _filtered(picture: NDArray[Any], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply frequencies by a gain that is told for 0, 1, 2 ... waves in a box."""
    height, width = picture.shape
    frequency = BOX * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    factor = np.interp(frequency, np.arange(len(gain)), gain)
    filtered: NDArray[np.float64] = np.fft.irfft2(np.fft.rfft2(picture) * factor, s=picture.shape)
    return filtered


def _rings() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Waves in a patch of each of its frequencies, how many have so many, and a window."""
    waves = BOX * np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.fftfreq(BOX))
    ring = np.minimum(np.round(waves).astype(int), BOX // 2)
    line = np.hanning(BOX + 2)[1:-1]
    window = np.outer(line, line)
    return ring, np.bincount(ring.ravel()), window / np.sqrt((window**2).sum())


def _ring_means(
    power: NDArray[np.float64], ring: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    sums = [np.bincount(ring.ravel(), each.ravel()) for each in power]
    return np.asarray(sums) / count


def _patch_spectra(flat: _Flat) -> NDArray[np.float64]:
    """Power (n, k) of patches that overlap by a half, at 0, 1 ... k - 1 waves."""
    ring, count, window = _rings()
    return np.array(list(_spectra(flat, ring, count, window))).reshape(-1, len(count))


def _spectra(
    flat: _Flat,
    ring: NDArray[np.int64],
    count: NDArray[np.int64],
    window: NDArray[np.float64],
) -> Iterator[NDArray[np.float64]]:
    height, width = flat.picture.shape
    for y in range(0, height - BOX + 1, BOX // 2):
        for x in range(0, width - BOX + 1, BOX // 2):
            part = (slice(y, y + BOX), slice(x, x + BOX))
            if flat.usable[part].mean() > 0.95:
                power = np.abs(np.fft.fft2(flat.picture[part] * window)) ** 2
                yield _ring_means(power[None], ring, count)[0]


def _factors(
    spectra: NDArray[np.float64], lowest: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Part spectra (n, k) of patches into noise (k,), and what objects add to some (k,)."""
    _, count, _ = _rings()
    weight = count.astype(float)
    weight[:lowest] = 0
    noise = np.quantile(spectra, _QUIET, axis=0) + 1e-12
    signal = np.ones(len(noise))
    amount = np.ones(len(spectra))
    for _ in range(_FACTORS):
        over = spectra / noise - 1
        total = over @ weight
        usable = total <= np.quantile(total, 0.98)
        signal /= np.sqrt((weight * signal**2).sum()) + 1e-12
        amount = np.maximum(over @ (weight * signal), 0)
        amount = np.minimum(amount, np.quantile(amount, _MOST_POWER))
        few = amount[usable]
        signal = np.maximum(few @ over[usable] / np.maximum(few @ few, 1e-9), 0)
        signal[:lowest] = 0
        signal /= np.sqrt((weight * signal**2).sum()) + 1e-12
        quiet = amount <= np.median(amount)
        noise *= np.maximum(1 + (over[quiet] - amount[quiet, None] * signal).mean(0), 0.05)
    strong = np.quantile(amount, _MOST_POWER) * signal * noise
    return noise, np.maximum(strong, 1e-6 * noise)


def _kinds(
    peaks: NDArray[np.float64], chance: NDArray[np.float64], least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Part peaks of power into objects, noise, which is known, and nuisances.

    By expectation maximization; gives means and covariances of the first two, and all shares.
    """
    of_noise, spread_of_noise = _moments(chance, np.ones(len(chance)))
    above = peaks[:, 0] >= least
    middle = np.median(peaks[above], 0)
    usual = np.maximum(median_abs_deviation(peaks[above], 0, scale="normal"), 0.15)
    belongs = above * (np.abs(peaks - middle) < 2.5 * usual).all(1) + 1e-9
    share = np.array([belongs.sum(), (~above).sum() + 1, max(1, 0.1 * above.sum())])
    for _ in range(_ROUNDS):
        center, spread = _moments(peaks, belongs)
        width = np.sqrt(np.diag(spread))
        spread = spread * np.outer(*[np.minimum(width, _SPREAD) / width] * 2)
        mean, covariance = np.stack([center, of_noise]), np.stack([spread, spread_of_noise])
        density = np.stack(_log_densities(peaks, mean, covariance, share / share.sum()))
        probability = np.exp(density - density.max(0))
        probability /= probability.sum(0)
        share = probability.sum(1) + 1
        belongs = probability[0] + 1e-9
    return mean, covariance, share / share.sum()


def _log_densities(
    features: NDArray[np.float64],
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    share: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """Of objects, noise, and nuisances: anywhere about both."""
    between = np.diag(np.maximum((mean[0] - mean[1]) ** 2 / 4, 1.0))
    kinds = (
        (mean[0], covariance[0], _FREEDOM),
        (mean[1], covariance[1], _FREEDOM),
        (mean.mean(0), between, _NUISANCE_FREEDOM),
    )
    return [
        np.log(part) + np.atleast_1d(multivariate_t(center, spread, df=freedom).logpdf(features))
        for (center, spread, freedom), part in zip(kinds, share, strict=True)
    ]


def _moments(
    features: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = weight @ features / weight.sum()
    away = features - mean
    covariance = (weight[:, None] * away).T @ away / weight.sum()
    return mean, covariance + 0.02 * np.eye(features.shape[1])
