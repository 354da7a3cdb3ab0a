"""Trained models at work: poses and content of boxes, objects in large images, averages."""

from ._ab_initio import AbInitioConfig, Structures, ab_initio
from ._ab_initio_images import ab_initio_images
from ._align import align
from ._aligned_stack import AlignedStack
from ._alignment import AlignConfig, Alignment, AlignmentUpdate, ClassAverage
from ._at_rest import average, bring_to_rest
from ._averages import average_volumes
from ._categories import categories_of, find_categories
from ._class_summary import summarise_classes
from ._cluster import ClusterMethod, cluster
from ._detect import detect, threshold_of
from ._detect_volume import VolumeSearch, calibrate_volumes, detect_volume, search_volume
from ._detection_config import DetectionConfig, Picks
from ._encode import Encoding, encode, least_score
from ._fit_to_model import pixel_size_notice
from ._fourier_shell import ShellCorrelation, fourier_shell_correlation
from ._frames import agree_on_frames
from ._image_classes import ClassificationConfig, classify_images
from ._isolate import IsolatedBoxes, isolate
from ._latent_drawings import draw_content, draw_grid, draw_path
from ._latent_map import LatentMap, latent_dimensions, latent_map, umap_is_there
from ._long_axis import long_axis
from ._measure import measure
from ._place_back import outside, place_back
from ._progress import Notice, Progress, Watched, finish
from ._refinement_plan import RefinementConfig
from ._rotation_profile import RotationProfile, Symmetry, rotation_profile, suggest_symmetry
from ._subtomogram_refinement import Refinement, refine
from ._threshold import calibrate, suggest_threshold
from ._volume_candidates import VolumeCandidates, propose_in_volume, propose_in_volumes
from ._volume_poser import Picks3D

__all__ = [
    "AbInitioConfig",
    "AlignConfig",
    "AlignedStack",
    "Alignment",
    "AlignmentUpdate",
    "ClassAverage",
    "ClassificationConfig",
    "ClusterMethod",
    "DetectionConfig",
    "Encoding",
    "IsolatedBoxes",
    "LatentMap",
    "Notice",
    "Picks",
    "Picks3D",
    "Progress",
    "Refinement",
    "RefinementConfig",
    "RotationProfile",
    "ShellCorrelation",
    "Structures",
    "Symmetry",
    "VolumeCandidates",
    "VolumeSearch",
    "Watched",
    "ab_initio",
    "ab_initio_images",
    "agree_on_frames",
    "align",
    "average",
    "average_volumes",
    "bring_to_rest",
    "calibrate",
    "calibrate_volumes",
    "categories_of",
    "classify_images",
    "cluster",
    "detect",
    "detect_volume",
    "draw_content",
    "draw_grid",
    "draw_path",
    "encode",
    "find_categories",
    "finish",
    "fourier_shell_correlation",
    "isolate",
    "latent_dimensions",
    "latent_map",
    "least_score",
    "long_axis",
    "measure",
    "outside",
    "pixel_size_notice",
    "place_back",
    "propose_in_volume",
    "propose_in_volumes",
    "refine",
    "rotation_profile",
    "search_volume",
    "suggest_symmetry",
    "suggest_threshold",
    "summarise_classes",
    "threshold_of",
    "umap_is_there",
]
