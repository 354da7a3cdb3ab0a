"""Trained models at work: poses and content of boxes, objects in large images, averages."""

from ._align import align, average
from ._averages import average_volumes
from ._cluster import cluster
from ._detect import DetectionConfig, Picks, detect, threshold_of
from ._encode import Encoding, encode, least_score
from ._fourier_shell import ShellCorrelation, fourier_shell_correlation
from ._frames import agree_on_frames
from ._isolate import IsolatedBoxes, isolate
from ._long_axis import long_axis
from ._progress import Notice, Progress, Watched, finish
from ._subtomogram_refinement import Refinement, RefinementConfig, refine
from ._threshold import calibrate, suggest_threshold

__all__ = [
    "DetectionConfig",
    "Encoding",
    "IsolatedBoxes",
    "Notice",
    "Picks",
    "Progress",
    "Refinement",
    "RefinementConfig",
    "ShellCorrelation",
    "Watched",
    "agree_on_frames",
    "align",
    "average",
    "average_volumes",
    "calibrate",
    "cluster",
    "detect",
    "encode",
    "finish",
    "fourier_shell_correlation",
    "isolate",
    "least_score",
    "long_axis",
    "refine",
    "suggest_threshold",
    "threshold_of",
]
