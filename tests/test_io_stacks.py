from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_equipose.geometry import InputError
from napari_equipose.io import ParticleStack, read_stack, read_star, write_mrc

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(3, 8, 8)).astype(np.float32)
SECOND = RNG.normal(size=(2, 8, 8)).astype(np.float32)

V30 = """
data_

loop_
_rlnImageName #1
_rlnMagnification #2
_rlnDetectorPixelSize #3
_rlnNobodyKnowsThis #4
2@first.mrcs 50000 5.0 a
1@second.mrcs 50000 5.0 b
000001@first.mrcs 50000 5.0 c
"""

V31 = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnImagePixelSize #3
opticsGroup1 1 1.25
opticsGroup2 2 1.26

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnMicrographName #3
000003@first.mrcs 1 0003
000002@second.mrcs 2 0004
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mrc(tmp_path / "first.mrcs", FIRST, 3.0)
    write_mrc(tmp_path / "second.mrcs", SECOND, 3.0)
    return tmp_path


def _star(folder: Path, text: str, name: str = "particles.star") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_relion_30_stack_follows_the_rows_of_the_star_file(folder: Path) -> None:
    stack = read_stack(_star(folder, V30))
    assert stack.axes == "nyx"
    assert stack.pixel_size == pytest.approx(1.0)
    np.testing.assert_array_equal(np.asarray(stack.images), [FIRST[1], SECOND[0], FIRST[0]])
    assert stack.table is not None
    assert list(stack.table["rlnNobodyKnowsThis"]) == ["a", "b", "c"]
    assert stack.optics is None


def test_relion_31_stack_takes_the_pixel_size_of_its_optics(folder: Path) -> None:
    stack = read_stack(_star(folder, V31))
    np.testing.assert_array_equal(np.asarray(stack.images), [FIRST[2], SECOND[1]])
    assert stack.pixel_size == pytest.approx(1.255)
    assert stack.optics is not None
    assert list(stack.optics["rlnOpticsGroupName"]) == ["opticsGroup1", "opticsGroup2"]


def test_particles_may_stand_before_their_optics(folder: Path) -> None:
    optics, particles = V31.split("# version 30001")[1:]
    stack = read_stack(_star(folder, particles + optics))
    assert stack.pixel_size == pytest.approx(1.255)


def test_names_that_look_like_numbers_stay_names(folder: Path) -> None:
    assert list(read_star(_star(folder, V31)).particles["rlnMicrographName"]) == ["0003", "0004"]


def test_star_without_a_pixel_size_takes_the_stacks(folder: Path) -> None:
    text = "data_particles\n\nloop_\n_rlnImageName\n1@first.mrcs\n"
    assert read_stack(_star(folder, text)).pixel_size == pytest.approx(3.0)


def test_name_without_a_number_is_a_file_of_one_particle(folder: Path) -> None:
    write_mrc(folder / "one.mrc", FIRST[0])
    write_mrc(folder / "volume.mrc", FIRST)
    text = "data_particles\n\nloop_\n_rlnImageName\n"
    one = read_stack(_star(folder, text + "one.mrc\n"))
    assert (one.axes, one.images.shape) == ("nyx", (1, 8, 8))
    volume = read_stack(_star(folder, text + "volume.mrc\nvolume.mrc\n"))
    assert (volume.axes, volume.images.shape) == ("nzyx", (2, 3, 8, 8))


@pytest.mark.parametrize(
    "index",
    [0, -1, slice(1, 3), slice(None, None, -1), [2, 0, 0], np.array([True, False, True])],
)
@pytest.mark.parametrize("rest", [(), (slice(2, 5),), (3, slice(None))])
def test_gathered_stack_is_indexed_as_an_array_is(
    folder: Path, index: Any, rest: tuple[Any, ...]
) -> None:
    images = read_stack(_star(folder, V30)).images
    whole = np.asarray(images)
    np.testing.assert_array_equal(images[(index, *rest)], whole[(index, *rest)])


def test_gathered_stack_tells_its_shape_without_reading(folder: Path) -> None:
    images = read_stack(_star(folder, V30)).images
    assert (len(images), images.shape, images.ndim) == (3, (3, 8, 8), 3)
    assert images.dtype == np.float32
    assert np.asarray(images, np.float64).dtype == np.float64


def test_more_stacks_than_files_may_be_open_are_read(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    names = [f"{number}.mrcs" for number in range(150)]
    for number, name in enumerate(names):
        write_mrc(tmp_path / name, np.full((1, 4, 4), number, np.float32))
    rows = "".join(f"1@{name}\n" for name in names)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc").exists() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 100, limits[1]))
    try:
        stack = read_stack(_star(tmp_path, f"data_\n\nloop_\n_rlnImageName\n{rows}"))
        assert np.asarray(stack.images).mean((1, 2)).tolist() == list(range(150))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_index_beyond_the_stack_is_an_index_error(folder: Path) -> None:
    with pytest.raises(IndexError):
        read_stack(_star(folder, V30)).images[3]


def test_stacks_are_found_from_the_projects_folder(folder: Path) -> None:
    write_mrc(folder / "Extract" / "job001" / "deep.mrcs", FIRST)
    text = "data_particles\n\nloop_\n_rlnImageName\n2@Extract/job001/deep.mrcs\n"
    stack = read_stack(_star(folder, text, "Class2D/job002/run_data.star"))
    np.testing.assert_array_equal(np.asarray(stack.images), FIRST[1:2])


def test_stacks_are_found_by_bare_name_beside_the_star_or_in_a_named_folder(
    folder: Path, tmp_path: Path
) -> None:
    text = "data_particles\n\nloop_\n_rlnImageName\n2@Extract/gone/first.mrcs\n"
    beside = read_stack(_star(folder, text))
    named = read_stack(_star(tmp_path / "elsewhere", text), folder=folder)
    np.testing.assert_array_equal(np.asarray(beside.images), np.asarray(named.images))


@pytest.mark.parametrize("suffix", [".mrcs", ".mrc", ".npy"])
def test_plain_stacks_are_stacks(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"stack{suffix}"
    if suffix == ".npy":
        np.save(path, FIRST)
    else:
        write_mrc(path, FIRST, 2.5)
    stack = read_stack(path)
    assert isinstance(stack, ParticleStack)
    assert stack.axes == "nyx"
    assert isinstance(stack.images, np.memmap)
    np.testing.assert_array_equal(np.asarray(stack.images), FIRST)


def test_stack_in_colour_and_stack_of_volumes(tmp_path: Path) -> None:
    np.save(tmp_path / "colour.npy", np.zeros((5, 8, 8, 3), np.uint8))
    np.save(tmp_path / "volumes.npy", np.zeros((5, 4, 8, 8), np.float32))
    assert read_stack(tmp_path / "colour.npy").axes == "nyxc"
    assert read_stack(tmp_path / "volumes.npy").axes == "nzyx"


@pytest.mark.parametrize("array", [np.zeros((8, 8)), np.zeros((8, 8, 3), np.uint8)])
def test_single_image_is_refused_with_advice(tmp_path: Path, array: NDArray[Any]) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="give a box size"):
        read_stack(tmp_path / "a.npy")


def test_missing_stack_is_named(folder: Path) -> None:
    (folder / "second.mrcs").unlink()
    with pytest.raises(InputError, match=r"1 of 2 image files .* second\.mrcs"):
        read_stack(_star(folder, V30))


@pytest.mark.parametrize("number", [0, 9])
def test_image_number_outside_its_stack_is_named(folder: Path, number: int) -> None:
    with pytest.raises(InputError, match=f"row 1: {number}@first.mrcs is not there"):
        read_stack(_star(folder, V30.replace("2@first", f"{number}@first")))


def test_images_of_two_sizes_are_refused(folder: Path) -> None:
    write_mrc(folder / "second.mrcs", np.zeros((2, 6, 6), np.float32))
    with pytest.raises(InputError, match="several sizes"):
        read_stack(_star(folder, V30))


def test_images_of_two_scales_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"pixel sizes from 1.25 to 2.5"):
        read_stack(_star(folder, V31.replace("1.26", "2.5")))


def test_star_of_positions_is_no_stack(tmp_path: Path) -> None:
    text = "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\n"
    with pytest.raises(InputError, match="it lists positions, not images"):
        read_stack(_star(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("not a star file", "no table of particles"),
        ("data_general\n\n_rlnThing 3\n", "no table of particles"),
        ("data_particles\n\nloop_\n_rlnImageName\n", "lists no particles"),
        ("data_particles\n\nloop_\n_rlnImageName\n_rlnX\n1@a 2 3 4\n1@a\n", "can't be|STAR"),
    ],
)
def test_star_files_without_particles_are_refused(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_stack(_star(tmp_path, text))


def test_binary_file_named_star_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_bytes(RNG.bytes(5000))
    with pytest.raises(InputError, match=r"a\.star"):
        read_stack(tmp_path / "a.star")
