"""Trained models at work: poses and content of boxes, objects in large images, averages."""

from ._align import align, average
from ._cluster import cluster
from ._detect import DetectionConfig, Picks, detect, threshold_of
from ._encode import Encoding, encode, least_score
from ._frames import agree_on_frames
from ._isolate import IsolatedBoxes, isolate
from ._long_axis import long_axis
from ._progress import Notice, Progress, Watched, finish
from ._threshold import calibrate, suggest_threshold

__all__ = [
    "DetectionConfig",
    "Encoding",
    "IsolatedBoxes",
    "Notice",
    "Picks",
    "Progress",
    "Watched",
    "agree_on_frames",
    "align",
    "average",
    "calibrate",
    "cluster",
    "detect",
    "encode",
    "finish",
    "isolate",
    "least_score",
    "long_axis",
    "suggest_threshold",
    "threshold_of",
]
