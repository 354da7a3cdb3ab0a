"""The measures of the papers and of the field: picks, poses, clusters.

Angles come in radians, in the conventions of `napari_equipose.geometry`. The canonical frame of
an unsupervised model is arbitrary, so errors of rotation are judged after removing one rotation for
each class of objects (a gauge), and modulo the object's symmetry: ``fold`` is the number of
rotations in a full turn that look alike.
"""

from napari_equipose.geometry import symmetry_group

from ._clusters import clustering_accuracy, label_accuracy
from ._content import ContentScores, content_scores, factor_correlation
from ._drawn import elbo_per_pixel, reconstruct, reconstruction_error
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
from ._rotations import GeodesicErrors, geodesic_errors
from ._table_measures import MEASURES
from ._tables import evaluate_tables
from ._turning import turning_rmse

__all__ = [
    "MEASURES",
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
    "elbo_per_pixel",
    "evaluate_tables",
    "factor_correlation",
    "gauge_free_errors",
    "geodesic_errors",
    "label_accuracy",
    "match_picks",
    "objects_from_masks",
    "pick_scores",
    "reconstruct",
    "reconstruction_error",
    "rotation_resultant",
    "symmetry_group",
    "translation_correlation",
    "turning_rmse",
]
