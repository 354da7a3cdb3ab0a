"""Contrast transfer functions from the columns of a STAR file."""

import numpy as np
import torch

from ..geometry import ContrastTransfer, InputError
from ._stacks import ParticleStack

_NEEDED = {
    "defocus_u": "rlnDefocusU",
    "defocus_v": "rlnDefocusV",
    "azimuth": "rlnDefocusAngle",
    "voltage": "rlnVoltage",
    "spherical_aberration": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
}


def read_ctf(stack: ParticleStack) -> ContrastTransfer:
    """Read the contrast transfer function of every particle of a STAR file.

    Raises
    ------
    InputError
        If the stack has no table, no pixel size, or a column or a number in it is missing.
    """
    if stack.table is None or stack.pixel_size is None:
        raise InputError(f"{stack.path}: the CTF needs a STAR file with defocus and pixel size.")
    table = stack.table
    if stack.optics is not None and "rlnOpticsGroup" in table:
        known = stack.optics.set_index("rlnOpticsGroup")
        more = [name for name in known if name not in table]
        table = table.join(known[more], on="rlnOpticsGroup")
    missing = [name for name in _NEEDED.values() if name not in table]
    if missing:
        raise InputError(f"{stack.path}: the CTF needs the columns {', '.join(missing)}.")

    def column(name: str) -> torch.Tensor:
        values = table[name].to_numpy(np.float32)
        if not np.isfinite(values).all():
            row = int(np.isfinite(values).argmin()) + 1
            raise InputError(f"{stack.path}, row {row}: no number in {name}, nor in its optics.")
        return torch.from_numpy(values.copy())

    columns = {field: column(name) for field, name in _NEEDED.items()}
    shift = column("rlnPhaseShift") if "rlnPhaseShift" in table else 0 * columns["azimuth"]
    columns["azimuth"] = columns["azimuth"].deg2rad()
    size = int(stack.images.shape[-1])
    return ContrastTransfer(
        box_size=size, pixel_size=stack.pixel_size, phase_shift=shift.deg2rad(), **columns
    )
