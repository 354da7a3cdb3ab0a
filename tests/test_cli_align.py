"""``equipose align``, end to end: from simulated subtomograms to stacks, tables and averages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from test_cli import refuse, run, succeed
from test_subtomogram_refinement import BLOBS, alike, blobs
from tiny import HARMONY

from napari_equipose import inference
from napari_equipose.evaluation import geodesic_errors
from napari_equipose.geometry import MissingWedge, rotations_from_relion
from napari_equipose.inference import AlignmentUpdate, average
from napari_equipose.io import (
    StarFile,
    read_halves,
    read_image,
    read_stack,
    read_star,
    read_table,
    read_wedges,
    write_mrc,
    write_star,
)
from napari_equipose.models import (
    Harmony,
    HarmonyConfig,
    Normalisation,
    load_model,
    save_model,
)

SIZE, PIXEL_SIZE, N = 24, 8.0, 16
FEW = 10  # of the set without a wedge, which is aligned in full
ANGLES = ["rot", "tilt", "psi"]
QUICK = ["--device", "cpu", "--iterations", 1]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with simulated subtomograms, and models of volumes and of images."""
    folder = tmp_path_factory.mktemp("align")
    write_mrc(folder / "map.mrc", blobs(BLOBS).astype(np.float32), PIXEL_SIZE)
    settings = ["--box-size", SIZE, "--pixel-size", PIXEL_SIZE, "--defocus", 0]
    for name, more in {
        "wedge": ["--n", N, "--tilt-range", -60, 60, "--snr", 3],
        "whole": ["--n", FEW, "--snr", 20],
    }.items():
        succeed(
            "simulate", "subtomograms", folder / "map.mrc", "-o", folder / name, *settings, *more
        )
    torch.manual_seed(0)
    small = {"box_size": SIZE, "width": 4, "n_pictures": 4}
    tilt = {"tilt_min_deg": -60.0, "tilt_max_deg": 60.0}
    for name, config in {
        "wedge": HarmonyConfig(dimensions=3, hypotheses=4, **small, **tilt),
        "whole": HarmonyConfig(dimensions=3, hypotheses=4, **small),
        "plane": HarmonyConfig(dimensions=2, hypotheses=1, **small),
    }.items():
        save_model(folder / f"{name}.safetensors", Harmony(config), Normalisation())
    volumes = read_stack(folder / "wedge" / "subtomograms.star").images
    write_mrc(folder / "images.mrcs", np.asarray(volumes)[:, SIZE // 2], PIXEL_SIZE)
    return folder


@pytest.fixture(scope="module")
def done(work: Path) -> Path:
    """The folder with all that the whole command writes, without a wedge."""
    out = work / "done"
    said = succeed(
        *("align", work / "whole.safetensors", work / "whole" / "subtomograms.star"),
        *("-o", out / "a.mrcs", "--poses", out / "t.star", "--average", out / "avg.mrc"),
        *("--device", "cpu", "--iterations", 5, "--json"),
    )
    (out / "said.json").write_text(said.stdout)
    return out


def test_poses_of_subtomograms_are_found(work: Path, done: Path) -> None:
    found, truth = read_table(done / "t.star"), pd.read_csv(work / "whole" / "truth.csv")
    turned = [torch.from_numpy(rotations_from_relion(t[ANGLES].to_numpy())) for t in (found, truth)]
    errors = geodesic_errors(*turned)
    assert errors.median < 3 and (errors.degrees < 10).mean() > 0.9


def test_by_the_angles_in_the_star_file_others_get_the_same_average(work: Path, done: Path) -> None:
    """By scipy and RELION's convention alone: voxels of particles taken to the reference."""
    particles = read_star(done / "t.star").particles
    volumes = np.asarray(read_stack(work / "whole" / "subtomograms.star").images)
    total, plain = np.zeros((SIZE,) * 3), volumes.mean(0)
    x, y, z = np.indices((SIZE,) * 3)[::-1] - SIZE // 2
    for volume, (_, row) in zip(volumes, particles.iterrows(), strict=True):
        angles = [row[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")]
        shift = -np.array([row[f"rlnOrigin{axis}Angst"] for axis in "XYZ"]) / PIXEL_SIZE
        to_reference = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
        where = np.stack([x, y, z], -1) @ to_reference + shift + SIZE // 2
        total += ndimage.map_coordinates(volume, np.moveaxis(where[..., ::-1], -1, 0), order=1)
    ours = np.asarray(read_image(done / "avg.mrc").data)
    inside = np.linalg.norm([x, y, z], axis=0) < SIZE / 2 - 3
    assert np.corrcoef(total[inside], ours[inside])[0, 1] > 0.98
    assert np.corrcoef(plain[inside], ours[inside])[0, 1] < 0.8


def test_the_aligned_stack_is_one_of_volumes_whose_mean_is_the_average(done: Path) -> None:
    with mrcfile.open(done / "a.mrcs", permissive=False) as file:
        assert (int(file.header.ispg), int(file.header.mode)) == (401, 2)
        assert file.voxel_size.x == pytest.approx(PIXEL_SIZE)
        aligned = file.data.copy()
    assert read_stack(done / "a.mrcs").axes == "nzyx" and aligned.shape == (FEW, *[SIZE] * 3)
    ours = np.asarray(read_image(done / "avg.mrc").data)
    inside = np.linalg.norm(np.indices((SIZE,) * 3) - SIZE // 2, axis=0) < SIZE / 2 - 3
    assert np.corrcoef(average(aligned)[inside], ours[inside])[0, 1] > 0.98
    each = [np.corrcoef(volume[inside], ours[inside])[0, 1] for volume in aligned]
    assert np.median(each) > 0.8


def test_halves_and_their_correlation_stand_beside_the_average(done: Path) -> None:
    halves = [np.asarray(read_image(done / f"avg_half{number}.mrc").data) for number in (1, 2)]
    whole = np.asarray(read_image(done / "avg.mrc").data)
    assert alike(np.mean(halves, 0), whole) > 0.99
    curve = pd.read_csv(done / "avg_fsc.csv")
    names = ["frequency", "frequency_per_angstrom", "correlation", "independent_halves"]
    assert list(curve) == names and curve["independent_halves"].all()
    expected = inference.fourier_shell_correlation(*halves)
    np.testing.assert_allclose(curve["correlation"], expected.correlation, atol=1e-4)
    np.testing.assert_allclose(curve["frequency_per_angstrom"] * PIXEL_SIZE, curve["frequency"])
    said = json.loads((done / "said.json").read_text())
    (one,) = said["classes"]
    assert one["resolution"] == pytest.approx(expected.resolution() * PIXEL_SIZE, rel=1e-3)
    assert one["resolution"] < 40 and (one["class"], one["n"], said["n"]) == (None, FEW, FEW)
    for name in ("aligned", "poses"):
        assert Path(said[name]).is_file()
    assert {Path(one[name]).name for name in ("average", "correlation")} == {
        "avg.mrc",
        "avg_fsc.csv",
    }
    assert read_image(done / "avg.mrc").pixel_size == pytest.approx(PIXEL_SIZE)


# Tables


@pytest.fixture
def star(work: Path, tmp_path: Path) -> Path:
    """A STAR file with places, halves, and the stack's whole path."""
    given = read_star(work / "wedge" / "subtomograms.star")
    stack = work / "wedge" / "subtomograms.mrcs"
    names = [f"{number:06d}@{stack}" for number in range(1, N + 1)]
    given.particles["rlnImageName"] = names
    given.particles["rlnTomoName"] = ["one", "two"] * (N // 2)
    given.particles["rlnRandomSubset"] = [1] * 8 + [2] * 8
    given.particles["rlnCtfMaxResolution"] = np.arange(N) + 0.5
    for number, axis in enumerate("XYZ"):
        given.particles[f"rlnCoordinate{axis}"] = 12.0 + 3 * number + np.arange(N)
    path = tmp_path / "in" / "given.star"
    write_star(path, given)
    return path


def aligning(model: Path, stack: Path, out: Path, *more: object) -> list[object]:
    return ["align", model, stack, "-o", out / "a.mrcs", "--poses", out / "t.csv", *QUICK, *more]


def test_a_star_file_keeps_all_but_its_poses(work: Path, star: Path, tmp_path: Path) -> None:
    model = work / "wedge.safetensors"
    for name in ("t.star", "t.csv"):
        out = tmp_path / "out"
        succeed(*aligning(model, star, out, "--no-refine", "--poses", out / name))
    before, after = read_star(star), read_star(tmp_path / "out" / "t.star")
    poses = [f"rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")]
    poses += [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
    kept = before.particles.columns.difference(poses)
    pd.testing.assert_frame_equal(after.particles[kept], before.particles[kept], check_dtype=False)
    pd.testing.assert_frame_equal(after.optics, before.optics)
    assert not np.allclose(after.particles[poses], before.particles[poses])
    rows = pd.read_csv(tmp_path / "out" / "t.csv")
    place = [f"translation_{axis}" for axis in "zyx"]
    assert list(rows) == ["index", *place, *ANGLES, "score", "class", "content_0", "half"]
    origins = after.particles[[f"rlnOrigin{axis}Angst" for axis in "ZYX"]]
    np.testing.assert_allclose(origins, -rows[place] * PIXEL_SIZE, atol=1e-3)
    np.testing.assert_allclose(after.particles[poses[:3]], rows[ANGLES], atol=1e-3)
    assert list(rows["half"]) == [0] * 8 + [1] * 8


def test_halves_and_tilts_of_a_star_file_reach_the_work(
    work: Path, star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    honest = inference.align

    def watched(*arguments: Any, **settings: Any) -> Any:
        seen.update(settings, config=arguments[2])
        return honest(*arguments, **settings)

    monkeypatch.setattr(inference, "align", watched)
    model = work / "wedge.safetensors"
    tilts = aligning(model, star, tmp_path, "--no-refine")
    succeed(*tilts, "--low-pass", 40, "--mask-radius", 9, "--max-shift", 2, "--symmetry", "c2")
    assert seen["wedge"] is None  # then the model's own counts
    np.testing.assert_array_equal(seen["half"], [0] * 8 + [1] * 8)
    asked = seen["config"].refinement
    assert (asked.low_pass, asked.mask_radius, asked.max_shift) == (5, 9, 2)
    assert (asked.symmetry, asked.iterations) == ("c2", 1)
    given = read_star(star)
    ranges = {"tilt_min": -40.0 - np.arange(N), "tilt_max": 50.0}
    write_star(star, StarFile(given.particles.assign(**ranges), given.optics))
    succeed(*tilts, "--tilt-axis", "x")
    assert seen["wedge"][3] == MissingWedge(tilt_min_deg=-43, tilt_max_deg=50, tilt_axis="x")
    assert len(seen["wedge"]) == N
    succeed(*tilts, "--tilt-range", -30, 40)
    assert seen["wedge"] == MissingWedge(tilt_min_deg=-30, tilt_max_deg=40)


def test_each_class_has_an_average_of_its_own(work: Path, tmp_path: Path) -> None:
    said = succeed(
        *aligning(work / "wedge.safetensors", work / "wedge" / "subtomograms.star", tmp_path),
        *("--classes", 2, "--no-refine", "--average", tmp_path / "avg.mrc", "--json"),
    )
    rows, told = pd.read_csv(tmp_path / "t.csv"), json.loads(said.stdout)["classes"]
    assert [one["n"] for one in told] == np.bincount(rows["class"]).tolist()
    for number, one in enumerate(told):
        assert (one["class"], Path(one["average"]).name) == (number, f"avg_class{number}.mrc")
        for ending in ("", "_half1", "_half2"):
            assert (tmp_path / f"avg_class{number}{ending}.mrc").is_file()
        assert (tmp_path / f"avg_class{number}_fsc.csv").is_file()
    assert not (tmp_path / "avg.mrc").exists()


def test_a_resolution_says_that_it_is_optimistic_where_the_halves_share_a_model(
    work: Path, done: Path, tmp_path: Path
) -> None:
    """As by default with a model that began with structures that a search found."""
    plain, searched = load_model(work / "whole.safetensors"), tmp_path / "searched.safetensors"
    save_model(searched, plain.model, plain.normalisation, record={"structures": [[0.0]]})
    command = aligning(searched, work / "whole" / "subtomograms.star", tmp_path)
    for search, shared in (("auto", True), ("everywhere", False)):
        more = ("--average", tmp_path / "avg.mrc", "--search", search)
        words = succeed(*command, *more).stdout
        (one,) = json.loads(succeed(*command, *more, "--json").stdout)["classes"]
        curve = pd.read_csv(tmp_path / "avg_fsc.csv")
        assert one["resolution_pixels"] is not None
        assert ("both halves share one model" in words) == shared
        assert ("both halves share one model" in one.get("caveat", "")) == shared
        assert one["independent_halves"] != shared
        assert (curve["independent_halves"] != shared).all()


def test_averages_stand_in_the_tomogram_where_their_particles_were_cut(
    work: Path, star: Path, tmp_path: Path
) -> None:
    tomogram = tmp_path / "one.mrc"  # half of the particles are of another
    write_mrc(tomogram, np.zeros((40, 44, 48), np.int8), PIXEL_SIZE)
    command = aligning(work / "wedge.safetensors", star, tmp_path, "--no-refine")
    said = succeed(*command, "--average", tmp_path / "avg.mrc", "--place-back", tomogram, "--json")
    placed = read_image(json.loads(said.stdout)["placed"])
    assert placed.data.shape == (40, 44, 48)
    assert placed.pixel_size == pytest.approx(PIXEL_SIZE)
    rows, particles = read_table(tmp_path / "t.csv").iloc[::2], read_star(star).particles.iloc[::2]
    cut = particles[[f"rlnCoordinate{axis}" for axis in "ZYX"]].to_numpy()
    places = cut + rows[[f"translation_{axis}" for axis in "zyx"]].to_numpy()
    expected = inference.place_back(
        *([np.asarray(read_image(tmp_path / "avg.mrc").data)], places),
        *(rotations_from_relion(rows[ANGLES].to_numpy()), None, (40, 44, 48)),
    )
    assert alike(np.asarray(placed.data), expected) > 0.999


def test_images_are_aligned_too(work: Path, tmp_path: Path) -> None:
    out = succeed(
        *aligning(work / "plane.safetensors", work / "images.mrcs", tmp_path),
        *("--average", tmp_path / "avg.mrc"),
    )
    assert f"{N} particles" in out.stdout
    with mrcfile.open(tmp_path / "a.mrcs", permissive=False) as file:
        assert int(file.header.ispg) == 0 and file.data.shape == (N, SIZE, SIZE)
        np.testing.assert_allclose(
            average(file.data), read_image(tmp_path / "avg.mrc").data, atol=1e-4
        )
    assert (tmp_path / "avg_frc.csv").is_file()
    assert list(pd.read_csv(tmp_path / "t.csv"))[-2:] == ["content_0", "half"]


# Interrupts


def test_an_interrupt_keeps_the_poses_of_the_last_iteration(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = inference.align

    def interrupted(*arguments: Any, **settings: Any) -> Iterator[Any]:
        for step in honest(*arguments, **settings):
            yield step
            if isinstance(step, AlignmentUpdate) and step.iteration == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(inference, "align", interrupted)
    stack = work / "wedge" / "subtomograms.star"
    command = aligning(work / "wedge.safetensors", stack, tmp_path, "--search", "local")
    stopped = run(*command, "--iterations", 2, "--average", tmp_path / "avg.mrc")
    assert stopped.exit_code == 130
    assert f"the poses after iteration 1 are in {tmp_path / 't.csv'}" in stopped.stderr
    rows = read_table(tmp_path / "t.csv")
    assert len(rows) == N and rows[ANGLES].notna().all(axis=None)
    assert np.ptp(read_image(tmp_path / "avg.mrc").data) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("avg.mrc", "avg_fsc.csv", "avg_half1.mrc", "avg_half2.mrc", "t.csv")
    ]


def test_an_interrupt_while_the_stack_is_written_leaves_no_half_of_it(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = inference.AlignedStack.__getitem__

    def interrupted(self: Any, index: Any) -> Any:
        if index == 5:
            raise KeyboardInterrupt
        return honest(self, index)

    monkeypatch.setattr(inference.AlignedStack, "__getitem__", interrupted)
    stack = work / "wedge" / "subtomograms.star"
    stopped = run(*aligning(work / "wedge.safetensors", stack, tmp_path, "--no-refine"))
    assert stopped.exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


# Refusals


def test_bad_input_is_one_line(work: Path, star: Path, tmp_path: Path) -> None:
    volumes = np.asarray(read_stack(work / "wedge" / "subtomograms.star").images)
    arrays = {"few": volumes[:7], "flat": volumes[:, 4:], "small": volumes[:, 2:-2, 2:-2, 2:-2]}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.save(tmp_path / "same.npy", np.where(np.arange(N)[:, None, None, None] == 4, 0, volumes))
    write_mrc(tmp_path / "one.mrc", volumes[0], PIXEL_SIZE)
    write_mrc(tmp_path / "other.mrc", volumes[0, 1:, 1:, 1:], PIXEL_SIZE)
    write_mrc(tmp_path / "fine.mrc", volumes[0], 2 * PIXEL_SIZE)
    write_mrc(tmp_path / "plane.mrc", volumes[0, 0], PIXEL_SIZE)
    given = read_star(star)
    changed = {
        "unequal": {"rlnImageName": ["one.mrc", "other.mrc"] * (N // 2)},
        "missing": {"rlnImageName": "gone.mrc"},
        "zero": {"tilt_min": 0.0, "tilt_max": 0.0},
        "lone": {"tilt_min": -60.0},
        "third": {"rlnRandomSubset": 3},
        "away": {"rlnTomoName": ["three", "four"] * (N // 2)},
    }
    for name, columns in changed.items():
        write_star(
            tmp_path / f"{name}.star", StarFile(given.particles.assign(**columns), given.optics)
        )
    bare = work / "wedge" / "subtomograms.mrcs"
    colour = np.zeros((9, SIZE, SIZE, 3), np.uint8)
    np.save(tmp_path / "colour.npy", colour)
    model, out = work / "wedge.safetensors", tmp_path / "out"
    cases: list[tuple[Path, tuple[object, ...], str]] = [
        (tmp_path / "few.npy", (), "at least 8 particles, got 7"),
        (tmp_path / "flat.npy", (), "cubic"),
        (tmp_path / "small.npy", (), "boxes of 24 pixels"),
        (tmp_path / "same.npy", (), "box 4 of the stack is constant"),
        (tmp_path / "unequal.star", (), "several sizes"),
        (tmp_path / "missing.star", (), "gone.mrc"),
        (tmp_path / "zero.star", (), "particle 1: the tilt range must run"),
        (tmp_path / "lone.star", (), "two columns"),
        (tmp_path / "third.star", (), "rlnRandomSubset must be 1 or 2"),
        (work / "images.mrcs", (), "cubic"),
        (tmp_path / "none.star", (), "does not exist"),
        (star, ("--tilt-range", 0, 0), "the tilt range must run"),
        (star, ("--tilt-axis", "x"), "goes with --tilt-range"),
        (star, ("--symmetry", "Q4"), "a symmetry is"),
        (star, ("--mask-radius", 40), "radius of the mask"),
        (star, ("--low-pass", 9), "at least 2 voxels"),
        (tmp_path / "few.npy", ("--low-pass", 40), "pixel size is not known"),
        (star, ("--iterations", 0), "iterations must be"),
        (star, ("--max-shift", 0), "max_shift must be"),
        (star, ("--search", "far"), "everywhere or local"),
        (star, ("--classes", "two"), "--classes must be"),
        (star, ("--classes", 40), "can't make 40 classes"),
        (star, ("-o", out / "a.tif"), "must end in .mrcs"),
        (star, ("--poses", out / "t.txt"), "must end in .csv"),
        (star, ("--average", out / "avg.tif"), "must end in .mrc"),
        (bare, ("--place-back", tmp_path / "one.mrc"), "rlnCoordinateZ"),
        (star, ("--place-back", tmp_path / "plane.mrc"), "none of the particles"),
        (star, ("--place-back", tmp_path / "gone.mrc"), "none of the particles"),
        (tmp_path / "away.star", ("--place-back", tmp_path / "one.mrc"), "three, four"),
        (tmp_path / "colour.npy", (), "in colour"),
    ]
    for stack, more, message in cases:
        said = refuse(*aligning(model, stack, out, *more))
        assert said.startswith("error: ") and message in said, (stack, more, said)
    single = given.particles.drop(columns="rlnTomoName")
    write_star(tmp_path / "single.star", StarFile(single, given.optics))
    for name, message in [("fine", "voxels of 16"), ("plane", "no volume"), ("gone", "not exist")]:
        tomogram = tmp_path / f"{name}.mrc"
        command = aligning(model, tmp_path / "single.star", out, "--place-back", tomogram)
        assert message in refuse(*command)
    said = refuse(
        *aligning(work / "plane.safetensors", work / "images.mrcs", out, "--tilt-range", -60, 60)
    )
    assert "for volumes" in said
    assert not list(out.glob("*"))


def test_what_a_stack_says_of_its_particles(star: Path, work: Path) -> None:
    stack = read_stack(star)
    halves = read_halves(stack)
    assert halves is not None and halves.tolist() == [0] * 8 + [1] * 8
    assert read_wedges(stack) is None
    plain = read_stack(work / "wedge" / "subtomograms.mrcs")
    assert read_halves(plain) is None and read_wedges(plain) is None


# Training first


def test_a_model_learnt_first_is_that_of_train(work: Path, tmp_path: Path) -> None:
    images = tmp_path / "images.npy"
    random = np.random.default_rng(0)
    np.save(images, ndimage.gaussian_filter(random.normal(size=(12, 16, 16)), (0, 2, 2)))
    tiny = [part for name, value in HARMONY.items() for part in ("--set", f"{name}={value}")]
    learning = ["--epochs", 1, "--seed", 3, "--device", "cpu", *tiny]
    apart, both = tmp_path / "apart.safetensors", tmp_path / "both.safetensors"
    succeed("train", images, "-o", apart, "--model", "harmony", *learning)
    first, second = ([tmp_path / f"{n}.mrcs", "--poses", tmp_path / f"{n}.csv"] for n in "ab")
    succeed("align", apart, images, "-o", *first, "--seed", 3, "--device", "cpu")
    succeed("align", both, images, "-o", *second, "--train", *learning)
    assert load_model(both).digest == load_model(apart).digest
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.csv"), read_table(tmp_path / "b.csv"))
    np.testing.assert_array_equal(*(read_image(tmp_path / f"{n}.mrcs").data for n in "ab"))
    again = [both, images, "-o", *second, "--device", "cpu"]
    assert "nothing to resume" in refuse("align", *again, "--train", "--resume", "--epochs", 2)
    repeat = ("--config", tmp_path / "both.run" / "run.json", "--epochs", 2, "--overwrite")
    succeed("align", *again, "--train", *repeat)  # with the seed it had
    assert load_model(both).record["training"]["seed"] == 3
    assert list(pd.read_csv(tmp_path / "both.log.csv")["epoch"]) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", 2, "--set", "width=4"], "--epochs, --set goes with --train"),
        (["--train", "--resume"], "no checkpoint to resume from"),
        (["--train", "--model", "nonsense"], "unknown kind of model"),
    ],
)
def test_training_that_makes_no_sense_is_refused(
    work: Path, tmp_path: Path, arguments: list[Any], message: str
) -> None:
    images, model = tmp_path / "images.npy", tmp_path / "m.safetensors"
    np.save(images, np.random.default_rng(0).normal(size=(12, 16, 16)))
    outputs = ["-o", tmp_path / "a.mrcs", "--poses", tmp_path / "a.csv"]
    said = refuse("align", model, images, *outputs, *arguments)
    assert message in said and not model.exists()
