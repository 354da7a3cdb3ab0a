"""One run of the Detect panel, on an image or on a volume: its work, and the layers of its end."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from ..geometry import MissingWedge
from ..inference import DetectionConfig, threshold_of
from ._detect_job import Classes, Found, FoundInVolume, find, find_in_volume
from ._detect_layers import FoundLayers, FoundVolumeLayers
from ._layers import Plane
from ._models import ShelvedModel
from ._object_layers import ObjectLayers
from ._volumes import Volume


@dataclass(frozen=True, kw_only=True)
class DetectOrder:
    """All that a run is given."""

    shelved: ShelvedModel
    part: Plane | Volume
    """Of a layer: where objects are looked for."""
    lowest: float | None
    """Least score of what is looked for; by default half of what parts objects from chance."""
    wedge: MissingWedge | None
    """What the tilt series of a volume measured; None is what the model was trained with."""
    device: str
    classes: Classes
    along: bool
    """Whether arrows in an image lie along the objects."""

    def work(self) -> Generator[Any, None, Found | FoundInVolume]:
        """Find the objects.

        Raises
        ------
        InputError
            If model and layer do not fit, or there are fewer objects than classes.
        """
        saved, part = self.shelved.saved, self.part
        if isinstance(part, Volume):
            return find_in_volume(saved, part, self.lowest, self.wedge, self.device, self.classes)
        config = DetectionConfig(threshold=self.lowest or threshold_of(saved) / 2)
        return find(saved, part, config, self.device, self.classes)

    def least(self, found: Found | FoundInVolume) -> float:
        """Score below which nothing was looked for."""
        if self.lowest is not None:
            return self.lowest
        if isinstance(found, FoundInVolume):
            return found.threshold / 2
        return threshold_of(self.shelved.saved) / 2

    def layers(self, found: Found | FoundInVolume) -> ObjectLayers:
        """Make the layers of what was found."""
        name, saved, path = self.shelved
        config = DetectionConfig(threshold=self.least(found))
        made: ObjectLayers
        if isinstance(found, FoundInVolume):
            assert isinstance(self.part, Volume)
            made = FoundVolumeLayers(found, self.part, saved, name, config, self.wedge)
        else:
            assert isinstance(self.part, Plane)
            made = FoundLayers(found, self.part, saved, name, config, along=self.along)
        made.points.metadata["equipose"]["model_path"] = str(path)
        return made
