"""Dock widgets for napari. Nothing else here may know of Qt or napari."""

from ._align import AlignWidget
from ._detect import DetectWidget
from ._latent import LatentWidget
from ._train import TrainWidget

__all__ = ["AlignWidget", "DetectWidget", "LatentWidget", "TrainWidget"]
