"""Trained models at work: poses and content of boxes, objects in large images, averages."""

from ._align import align, average
from ._cluster import cluster
from ._detect import DetectionConfig, Picks, detect, suggest_threshold
from ._encode import Encoding, encode, least_score
from ._isolate import IsolatedBoxes, isolate
from ._progress import Progress, finish

__all__ = [
    "DetectionConfig",
    "Encoding",
    "IsolatedBoxes",
    "Picks",
    "Progress",
    "align",
    "average",
    "cluster",
    "detect",
    "encode",
    "finish",
    "isolate",
    "least_score",
    "suggest_threshold",
]
