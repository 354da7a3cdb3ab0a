"""An accelerator that is not there, and what runs on it: see `fake`, `rules` and `flows`.

The package imports nothing by itself, since `fake` must be imported before torch is.
"""
