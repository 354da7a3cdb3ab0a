"""What aligning a stack is asked for, and what comes of it."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ._encode import Encoding
from ._fourier_shell import ShellCorrelation
from ._refinement_plan import RefinementConfig

Reach = Literal["auto", "everywhere", "local"]
_EVERYWHERE = 3  # iterations


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """How a stack is aligned."""

    refine: bool = True
    """Of volumes: against the averages of their own halves. Of images: fit what the model draws to
    the pixels, where the system can. Else the poses are those that the model infers."""
    search: Reach = "auto"
    """Of volumes that are refined: "everywhere" tries all rotations first, "local" starts at the
    poses that `encode` finds, or at a model's hypotheses. "auto" is local with a model that began
    with structures that a search found, else everywhere: what a model of volumes infers without
    such a start is too coarse."""
    classes: int | Literal["auto"] | None = None
    """Sort the particles by content as `cluster` does; each class is refined and averaged on its
    own. None is the categories of a system that has its own, and else one average of all."""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    """Of volumes; its mask and seed also count for images. ``everywhere`` follows ``search``: the
    first three iterations, where it is 0."""

    def __post_init__(self) -> None:
        if self.search not in get_args(Reach):
            raise InputError(f"search must be auto, everywhere or local, got {self.search!r}.")
        if self.search == "local" and self.refinement.everywhere:
            raise InputError("a local search has no iterations that search everywhere.")
        number = self.classes
        if not (number is None or number == "auto" or (isinstance(number, int) and number >= 1)):
            raise InputError(f"classes must be a number of at least 1, or auto; got {number!r}.")

    @property
    def refinement_of_volumes(self) -> RefinementConfig:
        """The refinement, with the iterations that the search asks for; "auto" was chosen."""
        settings = self.refinement
        if self.search == "local" or settings.everywhere:
            return settings
        return replace(settings, everywhere=min(_EVERYWHERE, settings.iterations))


class ClassAverage(NamedTuple):
    """What the particles of one class look like at rest."""

    label: int
    """Of the class; 0 where there are none."""
    n: int
    """Particles in it."""
    average: NDArray[np.float32]
    """Shape ((z,) y, x), or (y, x, 3) of colour; that of volumes is masked."""
    halves: NDArray[np.float32]
    """Shape (2, ...), the averages of both halves; zero where a half has no particle."""
    correlation: ShellCorrelation
    """Of the halves: by rings (FRC) of images, by shells (FSC) of volumes."""
    independent: bool = False
    """Whether each half found its poses by itself. Else all poses, or the start of their search,
    come from one model, and the correlation is too high where noise was learned."""

    @property
    def caveat(self) -> str:
        """What to say beside the resolution, if anything is to be said."""
        return "" if self.independent else "optimistic: both halves share one model"


class Alignment(NamedTuple):
    """Particles brought to rest."""

    encoding: Encoding
    """With the final poses. The score of volumes that were refined is their correlation with the
    average where they were measured, from -1 to 1."""
    label: NDArray[np.int64] | None
    """Shape (n,), the class of each; None where no classes were asked for, and the system has no
    categories."""
    half: NDArray[np.int64]
    """Shape (n,), 0 or 1: in which half each is."""
    averages: tuple[ClassAverage, ...]
    """One for each class, in order; of an `AlignmentUpdate` those that there are so far."""


class AlignmentUpdate(NamedTuple):
    """How a class looks while it is aligned."""

    label: int
    """Of the class that is being aligned; 0 where there are none."""
    iteration: int
    """How many iterations of the refinement are done; 0 at the start."""
    alignment: Alignment
    """All as it stands: enough to keep, should the job be stopped here."""

    @property
    def current(self) -> ClassAverage:
        """The average of the class that is being aligned."""
        return next(one for one in self.alignment.averages if one.label == self.label)

    @property
    def average(self) -> NDArray[Any]:
        """The picture of it."""
        return self.current.average
