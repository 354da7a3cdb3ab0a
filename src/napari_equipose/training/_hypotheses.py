"""What the objects of an image may be: a few answers, as pictures, for a person to choose from."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError, extract_boxes
from ._proposals import by_power, check_search, explain_by_outline, in_noise, is_noisy

_PICTURES = 6
_MOST = 4


class Hypothesis(NamedTuple):
    """One answer to what the objects are."""

    polarity: Literal["dark", "bright"]
    n_objects: int
    """Objects that would be found."""
    pictures: NDArray[np.float32]
    """Shape (k, s, s) or (k, s, s, channels): boxes around the most typical ones."""
    image: NDArray[np.int64]
    """Shape (k,): index of the image that each picture is of."""
    positions: NDArray[np.float32]
    """Shape (k, 2): centers (y, x) of the pictures, in pixels: the examples of who chooses it."""
    evidence: float
    """Share, from 0 to 1, of all that is well outlined; in noise, of what stands out, of which that
    whose power recurs is a half."""


def hypotheses(
    images: Sequence[NDArray[Any]],
    box_size: int,
    polarity: Literal["either", "dark", "bright"] = "either",
) -> list[Hypothesis]:
    """Say what the objects of images may be, the likeliest first.

    Parameters
    ----------
    images : sequence of array, shape (y, x) or (y, x, channels)
        Of one kind.
    box_size : int
        Side of a square that holds one object with a little margin, in pixels.
    polarity : {"either", "dark", "bright"}

    Returns
    -------
    list of Hypothesis
        One to four: of both polarities, and, where shapes are of two sizes, of each; in noise
        also of what has power that recurs.

    Raises
    ------
    InputError
        As for `propose`.
    """
    signs = check_search(images, box_size, polarity)
    answers: list[tuple[int, float, list[NDArray[np.float64]], list[NDArray[np.float64]]]] = []
    if is_noisy(images[0], box_size):
        for sign in signs:
            found, weight = in_noise(images, box_size, sign)
            rows = [each.positions.astype(float) for each in found]
            answers.append((sign, weight, rows, [each.scores.astype(float) for each in found]))
        power = by_power(images, box_size)
        if power is not None:
            best = power.candidates
            sign = -1 if best[0].polarity == "dark" else 1
            weight = sum(answer[1] for answer in answers)
            rows = [each.positions.astype(float) for each in best]
            answers.append((sign, weight, rows, [each.scores.astype(float) for each in best]))
    else:
        for guess in explain_by_outline(images, box_size, signs, every_size=True):
            rows = [each.positions for each in guess.objects]
            answers.append((guess.sign, guess.evidence, rows, [o.log_odds for o in guess.objects]))
    answers = [answer for answer in answers if sum(map(len, answer[2]))]
    if not answers:
        raise InputError(
            f"nothing of about {box_size} pixels recurs: try another box size or polarity, or "
            "click a few objects as examples."
        )
    total = sum(weight for _, weight, _, _ in answers) or 1.0
    made = [
        _hypothesis(images, box_size, sign, weight / total, rows, scores)
        for sign, weight, rows, scores in answers
    ]
    return sorted(made, key=lambda each: -each.evidence)[:_MOST]


def _hypothesis(
    images: Sequence[NDArray[Any]],
    box_size: int,
    sign: int,
    evidence: float,
    rows: Sequence[NDArray[np.float64]],
    scores: Sequence[NDArray[np.float64]],
) -> Hypothesis:
    number = np.concatenate([np.full(len(r), i) for i, r in enumerate(rows)])
    places = np.concatenate([np.asarray(r, float).reshape(-1, 2) for r in rows])
    best = np.argsort(-np.concatenate(scores), kind="stable")[:_PICTURES]
    pictures = [extract_boxes(images[number[row]], places[row][None], box_size)[0] for row in best]
    boxes = np.moveaxis(np.stack(pictures), 1, -1)
    return Hypothesis(
        "dark" if sign < 0 else "bright",
        len(places),
        boxes[..., 0] if boxes.shape[-1] == 1 else boxes,
        number[best].astype(np.int64),
        places[best].astype(np.float32),
        float(evidence),
    )
