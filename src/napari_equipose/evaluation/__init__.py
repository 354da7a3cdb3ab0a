"""The measures of the papers and of the field: picks, poses, clusters.

Angles come in radians, in the conventions of `napari_equipose.geometry`. The canonical frame of
an unsupervised model is arbitrary, so errors of rotation are judged after removing one rotation for
each class of objects (a gauge), and modulo the object's symmetry: ``fold`` is the number of
rotations in a full turn that look alike.
"""

from ._clusters import clustering_accuracy
from ._content import ContentScores, content_scores
from ._masks import MaskObjects, objects_from_masks
from ._picks import Matches, PickScores, average_precision, best_f1, match_picks, pick_scores
from ._poses import (
    GaugeFreeErrors,
    Resultant,
    circular_correlation,
    gauge_free_errors,
    rotation_resultant,
    translation_correlation,
)
from ._rotations import GeodesicErrors, geodesic_errors, symmetry_group

__all__ = [
    "ContentScores",
    "GaugeFreeErrors",
    "GeodesicErrors",
    "MaskObjects",
    "Matches",
    "PickScores",
    "Resultant",
    "average_precision",
    "best_f1",
    "circular_correlation",
    "clustering_accuracy",
    "content_scores",
    "gauge_free_errors",
    "geodesic_errors",
    "match_picks",
    "objects_from_masks",
    "pick_scores",
    "rotation_resultant",
    "symmetry_group",
    "translation_correlation",
]
