"""A choice among the systems, of which only those are offered that can learn from the source."""

from qtpy.QtCore import Signal

from ..models import model_kinds
from ..training import Source, kinds, why_not
from ._forms import Choice


class SystemChoice(Choice):
    """All kinds of models; one that can't be chosen is greyed, and its tooltip says why."""

    picked = Signal()
    """Another system is chosen."""

    def __init__(self) -> None:
        ours = list(kinds())
        others = [name for name in model_kinds() if name not in ours]
        super().__init__({name: name for name in (*ours, *others)})
        self._wanted = self.value
        self._offering = False
        self.currentIndexChanged.connect(self._pick)

    def offer_for(self, source: Source, dimensions: int) -> None:
        """Offer those that can learn from a source.

        The one that was last picked is chosen if it is among them, or else another until it is.

        Parameters
        ----------
        source : {"image", "points", "stack"}
        dimensions : {2, 3}
            Of the images or boxes.
        """
        for index in range(self.count()):
            self.offer(index, why_not(self.itemData(index), source, dimensions))
        names = [self._wanted, *map(self.itemData, range(self.count()))]
        self._offering = True
        self.value = next(filter(self.can_choose, names), self.value)
        self._offering = False

    def _pick(self) -> None:
        if not self._offering:
            self._wanted = self.value
        self.picked.emit()
