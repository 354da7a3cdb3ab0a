"""A simulated micrograph holds the nuisances that were asked for, and its truth tells of them."""

import json
from dataclasses import fields, replace
from math import pi
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from test_cli import refuse, succeed

from napari_equipose.geometry import InputError
from napari_equipose.io import read_image, read_table
from napari_equipose.simulation import (
    MODEL_STRUCTURES,
    MicrographConfig,
    SimulatedMicrograph,
    draw_micrograph,
    model_structure,
    simulate_micrograph,
)

PLAIN = MicrographConfig(
    shape=(400, 400), n=20, pixel_size=8.0, snr=0.3, gradient=0, contaminants=0, carbon=0
)


def made(**options: object) -> SimulatedMicrograph:
    config = replace(PLAIN, **options)
    return simulate_micrograph(
        model_structure("barrel").structure, np.random.default_rng(0), config
    )


def smooth_density(xyz: np.ndarray, angle: float = 0.0) -> np.ndarray:
    """Project points that are turned in the plane onto a grid of 4 Angstrom, blurred."""
    x = np.cos(angle) * xyz[:, 0] - np.sin(angle) * xyz[:, 1]
    y = np.sin(angle) * xyz[:, 0] + np.cos(angle) * xyz[:, 1]
    edges = np.arange(-150, 151, 4.0)
    counts = np.histogram2d(y, x, (edges, edges))[0]
    spectrum = np.fft.rfft2(counts)
    frequency = np.hypot(np.fft.fftfreq(len(counts))[:, None], np.fft.rfftfreq(len(counts)))
    return np.fft.irfft2(spectrum * np.exp(-((frequency * 6) ** 2)), counts.shape)


@pytest.mark.parametrize("name", MODEL_STRUCTURES)
def test_views_of_the_model_structures_have_the_symmetry_they_claim(name: str) -> None:
    structure, views = model_structure(name)
    for view, fold in views.items():
        if view == "any":
            continue
        xyz = structure.view(view).xyz
        still = smooth_density(xyz)

        turned = [smooth_density(xyz, angle) for angle in (2 * pi / fold, pi / fold)]
        same, other = (np.corrcoef(still.ravel(), image.ravel())[0, 1] for image in turned)
        assert same > 0.99
        assert other < 0.95  # no finer symmetry: the angle can be seen


def test_model_structures_are_as_wide_as_macromolecules_and_of_each_their_own_shape() -> None:
    wide = {n: np.ptp(model_structure(n).structure.xyz, axis=0) for n in MODEL_STRUCTURES}
    assert len(wide) == 6
    assert all(80 < extent.max() < 260 for extent in wide.values())
    ratios = sorted(extent.max() / extent.min() for extent in wide.values())
    assert ratios[0] == pytest.approx(1) and ratios[-1] > 3


def test_particles_of_any_view_differ_and_tell_no_angle() -> None:
    micrograph = made(views={"any": 1, "side": 2}, n=40)
    truth = micrograph.truth
    free = truth.view == "any"
    assert 5 < free.sum() < 35
    np.testing.assert_array_equal(np.isnan(truth.rotation), free)
    assert set(truth.symmetry_fold[~free]) == {2}


@pytest.mark.parametrize(
    ("options", "darker"),
    [
        ({"ice_balls": 6, "ice_ball_diameter": (1.0, 3.0)}, 0.4),
        ({"crystals": 6}, 0.25),
        ({"contaminants": 12}, 0.4),
        ({"carbon": 0.3, "carbon_direction": pi}, 0.4),
    ],
)
def test_what_hides_particles_is_there_and_told(options: dict, darker: float) -> None:
    plain, other = made(n=60, snr=0.05), made(n=60, snr=0.05, **options)
    np.testing.assert_array_equal(plain.truth.positions, other.truth.positions)
    assert not plain.truth.on_contaminant.any()
    hidden = other.truth.on_contaminant
    assert 1 <= hidden.sum() < 50
    change = ndimage.gaussian_filter(other.image - plain.image, 1)
    y, x = np.indices(PLAIN.shape)
    for place, flagged in zip(other.truth.positions, hidden, strict=True):
        distance = np.hypot(y - place[0], x - place[1])
        inner = change[distance < 0.2 * other.particle_radius]
        near = change[distance < 0.5 * other.particle_radius + 1]
        assert near.min() < -darker if flagged else inner.min() > -darker


def test_carbon_covers_the_part_and_the_side_that_were_asked_for() -> None:
    plain, left = made(snr=0.05), made(snr=0.05, carbon=0.25, carbon_direction=pi)
    columns = (left.image - plain.image).mean(0)
    covered = columns < (columns.max() + columns.min()) / 2
    assert covered.mean() == pytest.approx(0.25, abs=0.02)
    assert covered[:80].all() and not covered[120:].any()


def test_members_of_aggregates_stand_in_the_truth_but_do_not_count() -> None:
    micrograph = made(n=60, aggregates=6)
    truth = micrograph.truth
    clumped = truth.view == "aggregate"
    assert (~clumped).sum() == 60 and not clumped[:60].any()
    assert 6 * 5 <= clumped.sum() <= 6 * 20
    assert truth.on_contaminant[clumped].all()
    assert np.isnan(truth.rotation[clumped]).all()
    members = truth.positions[clumped]
    apart = np.linalg.norm(members[:, None] - members, axis=-1) + 1e9 * np.eye(len(members))
    assert apart.min(1).max() < 1.4 * micrograph.particle_radius
    # particles that a clump lies on do not count either
    near = np.linalg.norm(truth.positions[:60, None] - members, axis=-1).min(1)
    touched = near < 0.9 * micrograph.particle_radius
    assert touched.any() and truth.on_contaminant[:60][touched].all()
    # they are really there: dark as the particles are, and of the same clean signal
    y, x = np.round(members).astype(int).T
    assert micrograph.clean[y, x].mean() < micrograph.clean.mean() - micrograph.clean.std()


def test_aggregates_and_ice_leave_the_noise_of_the_particles_as_told() -> None:
    options = {"aggregates": 4, "ice_balls": 5, "crystals": 3, "carbon": 0.2}
    ratios = []
    for chosen in ({}, options):
        micrograph = made(n=30, snr=0.2, **chosen)
        y, x = np.indices(PLAIN.shape)
        free = np.zeros(PLAIN.shape, bool)
        for place in micrograph.truth.positions[~micrograph.truth.on_contaminant]:
            free |= np.hypot(y - place[0], x - place[1]) <= micrograph.particle_radius
        image, clean = micrograph.image[free], micrograph.clean[free]
        slope = np.cov(image, clean)
        slope = slope[0, 1] / slope[1, 1]
        ratios.append((slope * clean).var() / (image - slope * clean).var())
    assert ratios[0] == pytest.approx(0.2, rel=0.1)
    assert ratios[1] == pytest.approx(0.2, rel=0.35)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"carbon": 0.7}, "carbon is the part of the image .* from 0 to 0.5; got 0.7"),
        ({"carbon": True}, "carbon is the part"),
        ({"ice_balls": -1}, "ice_balls can't be negative"),
        ({"ice_ball_diameter": (3.0, 1.0)}, "the smaller one first"),
        ({"ice_ball_diameter": (0.1, 1e6)}, "at most 20"),
        ({"aggregates": 10**9}, "aggregates must be at most"),
        ({"n": 0}, "n must be positive"),
        ({"views": {"side": 0}}, "in-plane symmetry must be at least 1"),
        ({"views": {"bottom": 1}}, "views must be of top, side, any"),
        ({"shape": (10**6, 10**6)}, "are too much"),
        ({"defocus": float("nan")}, "defocus must be a finite number"),
    ],
)
def test_impossible_nuisances_are_refused(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(PLAIN, **options)


def test_a_seed_draws_a_micrograph_and_repeats_it() -> None:
    first, again = (draw_micrograph(np.random.default_rng(4), snr=0.1) for _ in range(2))
    assert first.config == again.config and first.name == again.name
    small = [draw_micrograph(np.random.default_rng(5), snr=0.3, shape=(600, 500)) for _ in range(2)]
    images = [
        simulate_micrograph(d.structure, np.random.default_rng(1), d.config).image for d in small
    ]
    np.testing.assert_array_equal(*images)


def test_random_micrographs_cover_what_they_promise() -> None:
    drawn = [draw_micrograph(np.random.default_rng(seed)) for seed in range(200)]
    configs = [d.config for d in drawn]
    assert {d.name for d in drawn} == set(MODEL_STRUCTURES)
    assert {view for c in configs for view in c.views} == {"side", "top", "any"}
    counts = np.array([c.n for c in configs])
    assert counts.min() >= 30 and counts.max() <= 400 and np.ptp(counts) > 300
    snrs = np.array([c.snr for c in configs])
    # a particle's signal: variance over that of the noise, times the pixels of its disc
    widths = [np.percentile(np.linalg.norm(d.structure.xyz, axis=1), 99) for d in drawn]
    radii = np.array([w / c.pixel_size for w, c in zip(widths, configs, strict=True)])
    assert (pi * radii**2 * snrs).min() > 139
    assert 0.05 <= snrs.min() < 0.07 and 0.25 < snrs.max() <= 0.3
    for name in ("contaminants", "ice_balls", "crystals", "aggregates", "carbon", "gradient"):
        values = np.array([getattr(c, name) for c in configs])
        assert 0.2 < (values == 0).mean() < 0.7, name
        assert values.max() > 0
    for name in ("pixel_size", "defocus"):
        values = np.array([getattr(c, name) for c in configs])
        assert values.max() > 3 * values.min(), name
    assert all(draw_micrograph(np.random.default_rng(s), snr=0.1).config.snr == 0.1 for s in (0, 1))


@pytest.mark.parametrize("seed", range(30, 40))
def test_particles_of_every_draw_find_room(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = draw_micrograph(rng, snr=0.3, shape=(500, 500))
    micrograph = simulate_micrograph(drawn.structure, rng, replace(drawn.config, contaminants=0))
    assert (micrograph.truth.view != "aggregate").sum() == drawn.config.n >= 30
    assert np.isfinite(micrograph.image).all()


def test_an_image_too_small_for_a_random_micrograph_is_refused() -> None:
    with pytest.raises(InputError, match="no room for 30 particles"):
        draw_micrograph(np.random.default_rng(0), shape=(150, 150))


def test_the_command_writes_the_micrograph_and_its_truth(tmp_path: Path) -> None:
    sizes = ("--shape", 400, 400, "--n", 15, "--pixel-size", 8, "--snr", 0.3)
    more = ("--aggregates", 1, "--carbon", 0, "--contaminants", 0, "--gradient", 0)
    succeed("simulate", "micrograph", "barrel", *sizes, *more, "-o", tmp_path / "made")
    image = read_image(tmp_path / "made" / "micrograph.mrc")
    expected = made(n=15, aggregates=1)
    np.testing.assert_array_equal(image.data, expected.image)
    assert image.pixel_size == 8
    truth = pd.read_csv(tmp_path / "made" / "truth.csv")
    np.testing.assert_allclose(truth[["y", "x"]], expected.truth.positions, atol=1e-3)
    np.testing.assert_array_equal(truth["on_contaminant"] == 1, expected.truth.on_contaminant)
    np.testing.assert_array_equal(truth["view"], expected.truth.view)
    np.testing.assert_array_equal(truth["sym_fold"], expected.truth.symmetry_fold)
    star = read_table(tmp_path / "made" / "truth.star", "picks")
    np.testing.assert_allclose(star[["y", "x"]], truth[["y", "x"]], atol=1e-3)
    known = truth["rotation"].notna()
    assert known.sum() == 15
    np.testing.assert_allclose(star["rotation"][known], truth["rotation"][known], atol=1e-3)


def test_the_command_draws_a_random_micrograph_but_for_what_is_given(tmp_path: Path) -> None:
    command = ("simulate", "micrograph", "--random", "--shape", 500, 500, "--seed", 3, "--json")
    told = json.loads(succeed(*command, "--snr", 0.25, "--defocus", 9000, "-o", tmp_path).stdout)
    drawn = draw_micrograph(np.random.default_rng(3), snr=0.25, shape=(500, 500))
    assert told["structure"] == drawn.name and told["snr"] == 0.25 and told["defocus"] == 9000
    for field in fields(drawn.config):
        if field.name != "defocus":
            value = getattr(drawn.config, field.name)
            assert told[field.name] == (list(value) if isinstance(value, tuple) else value)
    assert len(pd.read_csv(tmp_path / "truth.csv")) >= drawn.config.n


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("barrel", "--random"), "leave out one of the two"),
        (("spoon",), "spoon is neither a file of atoms"),
        (("--view", "top:x"), "--view is a view and its in-plane symmetry"),
        (("--view", "back"), "views must be of top, side, any"),
        (("--carbon", "0.9"), "carbon is the part of the image"),
        (("--n", "5000"), "found room"),
        (("--n", "999999999"), "n must be at most"),
    ],
)
def test_the_command_refuses_what_can_not_be(options: tuple, said: str, tmp_path: Path) -> None:
    assert said in refuse("simulate", "micrograph", *options, "-o", tmp_path / "made")
    assert not (tmp_path / "made").exists()
