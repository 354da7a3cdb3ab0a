"""Synthetic objects of known pose."""

from ._digits import rotated_digits

__all__ = ["rotated_digits"]
