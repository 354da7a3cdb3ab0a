"""Whether a missing wedge stands in the mean power of volumes, and which one."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._errors import InputError
from ._wedge import MissingWedge, fourier_grid

_VOLUMES = 48
"""That are looked at; one of pure noise shows its wedge, and the mean settles which angles."""
_LARGEST_CUBE = 48  # voxels, of those that are cut out of one large volume
_SMALLEST = 12  # voxels: below, a wedge is no wider than the window blurs it
_LEAST_RADIUS = 3  # cycles per box, from the tilt axis: nearer, the window mixes what was measured
_OF_POWER = 0.999
"""Shells that hold less than what is left are rounding and interpolation."""
_STEEPEST, _FLATTEST = 15, 80  # degrees: where a range of tilts may end
_WIDE_ENOUGH = 25
"""Degrees: a range that ends nearer to 0 is no tilt series but a long object, or a blur along z."""
_EMPTY, _NEARLY_ALL = 0.4, 0.95
"""In the wedge of nearly all rings there is less than so much of the power of the rest. Where
nothing is missing that is 0.85 and more, in a real tomogram 0.1; in two of three rings of a cone of
light or of a wedge about another axis it is more."""
_EDGE_DEG, _SHARP = 12, 1 / 3
"""Already so near to the edge of the wedge, the power has fallen to so much: below 0.2 at the edge
of a wedge, above 0.4 where objects or a blur let it fade."""


class _Fit(NamedTuple):
    """The tilt range about one axis that parts power best from none."""

    wedge: MissingWedge
    empty: float
    """Share of the rings that hold next to nothing in the wedge."""
    edge: float
    """Power just inside the wedge, of that outside."""

    @property
    def plain(self) -> bool:
        """Whether this can only be a missing wedge."""
        low, high = self.wedge.tilt_min_deg, self.wedge.tilt_max_deg
        wide = low <= -_WIDE_ENOUGH and high >= _WIDE_ENOUGH
        return wide and self.empty >= _NEARLY_ALL and self.edge <= _SHARP


def find_wedge(volumes: NDArray[Any]) -> MissingWedge | None:
    """Estimate from the mean Fourier power of volumes which wedge of it a tilt series left out.

    Power is compared on rings about each axis, of one radius and one height, on which nothing but
    the tilt angle differs; objects that lie at random, or noise that passed no tilt series, fill
    them evenly. The noise of tomograms is wedged as the objects are.

    Parameters
    ----------
    volumes : array, shape (n, z, y, x), or (z, y, x)
        Cubes, as they were cut; or one large volume, of which some cubes are read. The beam is
        taken to run along z.

    Returns
    -------
    MissingWedge, or None
        With ends in whole degrees, within some 3 degrees of the true ones. None where no wedge is
        plainly seen, which does not say that there is none.
    """
    cubes = _cubes_of(volumes) if volumes.ndim == 3 else _some_of(volumes)
    power = _mean_power(cubes)
    if power is None:
        return None
    fits = [_fit(power, axis) for axis in _AXES]
    best = max(fits, key=lambda fit: fit.empty)
    return best.wedge if best.plain else None


def refuse_untold_wedge(volumes: NDArray[Any]) -> None:
    """Refuse volumes with a missing wedge of which nobody told.

    Parameters
    ----------
    volumes : array
        As for `find_wedge`.

    Raises
    ------
    InputError
        If a wedge is plainly seen; it says which, and what to type.
    """
    wedge = find_wedge(volumes)
    if wedge is None:
        return
    low, high, axis = wedge.tilt_min_deg, wedge.tilt_max_deg, wedge.tilt_axis
    about = "" if axis == "y" else f" --tilt-axis {axis}"
    named = "" if axis == "y" else f" tilt_axis={axis}"
    raise InputError(
        f"no tilt range was given, but the mean power of the volumes shows a missing wedge, as of "
        f"a tilt series from about {low:g} to {high:g} degrees about {axis}, without which "
        f"rotations are found wrongly. Give the range of the tilt series: --tilt-range {low:g} "
        f"{high:g}{about}; in a panel, Tilt series, or among the other settings "
        f"tilt_min_deg={low:g} tilt_max_deg={high:g}{named}. If nothing is missing: --tilt-range "
        "-90 90."
    )


_AXES: tuple[Literal["y"], Literal["x"]] = ("y", "x")


def _some_of(volumes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Volumes spread evenly over a stack."""
    for row in np.unique(np.linspace(0, len(volumes) - 1, _VOLUMES).round().astype(int)):
        yield np.asarray(volumes[row], np.float32)


def _cubes_of(volume: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cubes spread over a large volume, always the same."""
    side = min(*volume.shape, _LARGEST_CUBE)
    rng = np.random.default_rng(0)
    for first in rng.random((_VOLUMES, 3)) * (np.array(volume.shape) - side + 1):
        yield np.asarray(volume[tuple(slice(i, i + side) for i in first.astype(int))], np.float32)


def _mean_power(cubes: Iterator[NDArray[Any]]) -> NDArray[np.float64] | None:
    """Mean power (z, y, x // 2 + 1) of volumes that count alike; None where nothing can be said."""
    total: NDArray[np.float64] | None = None
    for cube in cubes:
        side = cube.shape[-1]
        if side < _SMALLEST or cube.shape != (side,) * 3 or not np.isfinite(cube).all():
            continue
        # without a window, the jump from each face to the opposite one would fill the wedge
        window = np.hanning(side + 2)[1:-1]
        seen = (cube - cube.mean()) * window[:, None, None] * window[:, None] * window
        power = np.abs(np.fft.rfftn(seen)) ** 2
        power[0, 0, 0] = 0
        if power.sum() > 0:
            power /= power.sum()
            total = power if total is None else total + power
    return total


def _fit(power: NDArray[np.float64], tilt_axis: Literal["y", "x"]) -> _Fit:
    """Find the tilt range about an axis that tells power best from none."""
    side = len(power)
    frequency = fourier_grid(side).numpy()
    along, across = frequency[..., 1], frequency[..., 2]
    if tilt_axis == "x":
        along, across = across, -along
    beam = np.where(across < 0, -frequency[..., 0], frequency[..., 0])
    radius = np.hypot(beam, across)
    rows = _powerful(power, np.linalg.norm(frequency, axis=-1)) & (radius >= _LEAST_RADIUS)
    angle = np.degrees(np.arctan2(beam, np.abs(across)))[rows]
    ring = (radius.round() * side + np.abs(along)).astype(int)[rows]
    power = power[rows]
    mean = np.bincount(ring, power) / np.maximum(np.bincount(ring), 1)
    relative = power / mean[ring]
    low, high = _best_range(angle, relative)
    missing = (angle < low) | (angle > high)
    edge = missing & (angle >= low - _EDGE_DEG) & (angle <= high + _EDGE_DEG)
    wedge = MissingWedge(tilt_min_deg=low, tilt_max_deg=high, tilt_axis=tilt_axis)
    outside = relative[~missing].mean()
    return _Fit(wedge, _empty_rings(power, ring, missing), float(relative[edge].mean() / outside))


def _powerful(power: NDArray[np.float64], radius: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Coefficients of the shells that hold nearly all of the power."""
    inside = radius <= (len(power) - 1) // 2
    shell = radius.round().astype(int)
    held = np.bincount(shell[inside], power[inside])
    order = np.argsort(-held)
    enough = int(np.searchsorted(held[order].cumsum(), _OF_POWER * held.sum())) + 1
    found: NDArray[np.bool_] = inside & np.isin(shell, order[:enough])
    return found


def _best_range(angle: NDArray[np.floating], relative: NDArray[np.float64]) -> tuple[float, float]:
    """Ends, in whole degrees, between which the mean differs most surely from that beyond."""
    place = (angle + 90).astype(int).clip(0, 179)
    count, sums = np.bincount(place, minlength=180), np.bincount(place, relative, 180)
    counted, summed = (np.concatenate(([0], part.cumsum())) for part in (count, sums))
    lows = np.arange(-_FLATTEST, -_STEEPEST + 1)[:, None]
    highs = np.arange(_STEEPEST, _FLATTEST + 1)
    n = counted[highs + 90] - counted[lows + 90]
    total = summed[highs + 90] - summed[lows + 90]
    beyond = counted[-1] - n
    sure = np.minimum(n, beyond) > 0
    n, beyond = np.maximum(n, 1), np.maximum(beyond, 1)
    step = total / n - (summed[-1] - total) / beyond
    gain = np.where(sure, n * beyond * step * np.abs(step), -np.inf)
    row, column = np.unravel_index(int(gain.argmax()), gain.shape)
    return float(lows[row, 0]), float(highs[column])


def _empty_rings(
    power: NDArray[np.float64], ring: NDArray[np.int64], missing: NDArray[np.bool_]
) -> float:
    """Share of the rings, by their size, whose missing part holds next to nothing."""
    size, out = np.bincount(ring), np.bincount(ring, missing)
    all_of, out_of = np.bincount(ring, power), np.bincount(ring, power * missing)
    rows = (out >= 3) & (size - out >= 3)
    if not rows.any():
        return 0.0
    ratio = out_of[rows] / out[rows] / ((all_of - out_of)[rows] / (size - out)[rows])
    return float(np.average(ratio < _EMPTY, weights=size[rows]))
