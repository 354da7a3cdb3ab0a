"""The contrast transfer function: against the simulator's, its direction, its STAR columns."""

from math import pi
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from napari_equipose.geometry import ContrastTransfer, InputError
from napari_equipose.io import ParticleStack, read_ctf
from napari_equipose.models import TargetVAEConfig
from napari_equipose.simulation._optics import contrast_transfer, spatial_frequency
from napari_equipose.training import TrainingConfig, fit


def transfer(u: float, v: float, azimuth: float = 0.0, size: int = 64) -> ContrastTransfer:
    one = torch.ones(1)
    return ContrastTransfer(
        box_size=size,
        pixel_size=2.0,
        defocus_u=u * one,
        defocus_v=v * one,
        azimuth=azimuth * one,
        phase_shift=0 * one,
        voltage=300 * one,
        spherical_aberration=2.7 * one,
        amplitude_contrast=0.1 * one,
    )


def test_round_lens_is_that_of_the_simulator_with_bright_particles() -> None:
    ours = transfer(15e3, 15e3)[torch.tensor([0])][0].numpy()
    expected = -contrast_transfer(spatial_frequency((64, 64), 2.0), defocus=15e3)
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_defocus_u_lies_along_the_azimuth() -> None:
    first = torch.tensor([0])
    along_y = transfer(20e3, 10e3, pi / 2)[first][0]
    torch.testing.assert_close(along_y[:32, 0], transfer(20e3, 20e3)[first][0][:32, 0])
    torch.testing.assert_close(
        along_y[0, :32], transfer(10e3, 10e3)[first][0][0, :32], atol=1e-4, rtol=0
    )


def stack(**columns: object) -> ParticleStack:
    table = pd.DataFrame({"rlnDefocusU": [1e4, 2e4], "rlnOpticsGroup": [1, 1], **columns})
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnVoltage": [200.0],
            "rlnSphericalAberration": [2.0],
            "rlnAmplitudeContrast": [0.07],
        }
    )
    return ParticleStack(np.zeros((2, 32, 32)), "nyx", 1.5, Path("p.star"), table, optics)


def test_star_columns_are_read_also_from_the_optics_group() -> None:
    read = read_ctf(stack(rlnDefocusV=[9e3, 19e3], rlnDefocusAngle=[0.0, 90.0]))
    assert len(read) == 2 and read.box_size == 32 and read.pixel_size == 1.5
    assert read.azimuth.tolist() == pytest.approx([0, pi / 2])
    assert read.voltage.tolist() == [200, 200]
    assert read[torch.tensor([1, 0])].shape == (2, 32, 17)


def test_missing_columns_are_named() -> None:
    with pytest.raises(InputError, match="rlnDefocusV, rlnDefocusAngle"):
        read_ctf(stack())


def test_training_uses_each_particles_own_ctf() -> None:
    from napari_equipose.models import TargetVAE

    config = TargetVAEConfig(
        box_size=16, fields=4, generator="bilinear", generator_width=8, n_features=8
    )
    images = torch.randn(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    many = transfer(15e3, 15e3, size=16)
    columns = ("defocus_u", "defocus_v", "azimuth", "phase_shift", "voltage")
    columns += ("spherical_aberration", "amplitude_contrast")
    repeated = {name: getattr(many, name).repeat(12) for name in columns}
    ctf = ContrastTransfer(box_size=16, pixel_size=2.0, **repeated)
    losses = []
    for given in (None, ctf):
        torch.manual_seed(0)
        job = fit(TargetVAE(config), images, TrainingConfig(epochs=2), ctf=given)
        losses.append([report.validation_loss for report in job if hasattr(report, "best")])
    assert losses[0] != losses[1]
