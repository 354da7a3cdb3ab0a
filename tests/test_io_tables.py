from math import pi
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
from hypothesis import given
from hypothesis import strategies as st

from napari_equipose.geometry import InputError
from napari_equipose.io import (
    ParticleStack,
    pick_table,
    pose_table,
    read_stack,
    read_table,
    write_mrc,
    write_table,
)

CONTENT = np.array([[0.1, -2.0], [0.3, 4.0]])


def _poses() -> pd.DataFrame:
    return pose_table(
        rotation=[pi / 2, -pi],
        translation=[[1.5, -2.25], [0.0, 3.0]],
        score=[0.5, -1.0],
        content=CONTENT,
        classes=[0, 2],
    )


def _picks(image: str = "Micrographs/0003.mrc") -> pd.DataFrame:
    return pick_table(image, [[10.25, 20.0], [30.0, 5.5]], [0.0, -pi / 4], [0.5, -1.0], CONTENT)


@pytest.fixture
def stack(tmp_path: Path) -> ParticleStack:
    write_mrc(tmp_path / "stack.mrcs", np.zeros((2, 8, 8), np.float32), 1.5)
    return read_stack(tmp_path / "stack.mrcs")


def _same(table: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, atol=1e-5, rtol=1e-6)


def test_columns_of_the_tables_are_the_contracts() -> None:
    shared = ["rotation", "score", "class", "content_0", "content_1"]
    assert list(_poses()) == ["index", "translation_y", "translation_x", *shared]
    assert list(_picks()) == ["image", "y", "x", *shared]


def test_angles_are_degrees_from_minus_180_up_to_but_not_180() -> None:
    assert _poses()["rotation"].tolist() == [90.0, -180.0]
    edges = pose_table([pi, -pi, np.nextafter(pi, 0), 3 * pi], np.zeros((4, 2)))
    assert edges["rotation"].tolist() == [-180.0] * 4


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", pick_table("a.mrc", [[1, 2]]))
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "image,y,x,rotation,score,class",
        "a.mrc,1,2,,,",
    ]


def test_csv_brings_poses_and_picks_back(tmp_path: Path) -> None:
    for table in (_poses(), _picks()):
        write_table(tmp_path / "a.csv", table)
        _same(read_table(tmp_path / "a.csv"), table)


def test_no_object_found_is_a_table_too(tmp_path: Path, stack: ParticleStack) -> None:
    none = pick_table("a.mrc", np.zeros((0, 2)), [], [], np.zeros((0, 2)))
    for name in ("a.csv", "a.star", "a.txt"):
        write_table(tmp_path / name, none)
        assert len(read_table(tmp_path / name, "picks")) == 0
    write_table(tmp_path / "poses.star", _poses()[:0], stack=stack)


def test_relion_origin_is_minus_the_translation_in_angstrom(
    tmp_path: Path, stack: ParticleStack
) -> None:
    write_table(tmp_path / "a.star", _poses(), stack=stack)
    blocks = starfile.read(tmp_path / "a.star")
    particles, optics = blocks["particles"], blocks["optics"]
    assert particles["rlnOriginXAngst"].tolist() == [2.25 * 1.5, -3.0 * 1.5]
    assert particles["rlnOriginYAngst"].tolist() == [-1.5 * 1.5, 0.0]
    assert particles["rlnAnglePsi"].tolist() == [90.0, -180.0]
    assert particles["rlnClassNumber"].tolist() == [1, 3]
    assert particles["rlnAutopickFigureOfMerit"].tolist() == [0.5, -1.0]
    assert particles["rlnImageName"][1] == f"000002@{stack.path}"
    assert optics.loc[0, ["rlnImagePixelSize", "rlnImageSize"]].tolist() == [1.5, 8]
    assert optics["rlnImageDimensionality"].tolist() == [2]


def test_relion_coordinates_are_our_pixel_indices(tmp_path: Path) -> None:
    write_table(tmp_path / "a.star", _picks(), pixel_size=1.1)
    blocks = starfile.read(tmp_path / "a.star", parse_as_string=["rlnMicrographName"])
    particles = blocks["particles"]
    assert list(blocks) == ["particles", "optics"]  # coordinate readers take the first table
    assert particles["rlnCoordinateX"].tolist() == [20.0, 5.5]
    assert particles["rlnCoordinateY"].tolist() == [10.25, 30.0]
    assert particles["rlnMicrographName"].tolist() == ["Micrographs/0003.mrc"] * 2
    assert blocks["optics"]["rlnMicrographPixelSize"].tolist() == [1.1]


def test_star_brings_poses_and_picks_back_without_content(
    tmp_path: Path, stack: ParticleStack
) -> None:
    contents = ["content_0", "content_1"]
    write_table(tmp_path / "a.star", _poses(), stack=stack)
    _same(read_table(tmp_path / "a.star"), _poses().drop(columns=contents))
    write_table(tmp_path / "b.star", _picks())
    _same(read_table(tmp_path / "b.star"), _picks().drop(columns=contents))


def test_star_without_a_known_pixel_size_reads_back_in_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", np.zeros((2, 8, 8)))
    write_table(tmp_path / "a.star", _poses(), stack=read_stack(tmp_path / "stack.npy"))
    expected = _poses()[["translation_y", "translation_x"]]
    _same(read_table(tmp_path / "a.star")[["translation_y", "translation_x"]], expected)


V30 = """
data_images

loop_
_rlnVoltage #1
_rlnImageName #2
_rlnNobodyKnowsThis #3
_rlnOriginX #4
_rlnOriginY #5
_rlnAngleRot #6
_rlnAngleTilt #7
_rlnAnglePsi #8
_rlnMicrographName #9
_rlnMagnification #10
_rlnDetectorPixelSize #11
300 2@stack.mrcs b 1 -2 10 20 30 0003 10000 2
200 1@stack.mrcs a 0 0.5 10 20 190 0004 10000 2
"""


def test_star_of_relion_30_keeps_its_rows_and_its_columns(
    tmp_path: Path, stack: ParticleStack
) -> None:
    (tmp_path / "in.star").write_text(V30)
    write_table(tmp_path / "out.star", _poses(), stack=read_stack(tmp_path / "in.star"))
    text = ["rlnMicrographName"]
    blocks = starfile.read(tmp_path / "out.star", parse_as_string=text)
    particles, optics = blocks["particles"], blocks["optics"]
    assert particles["rlnImageName"].tolist() == ["2@stack.mrcs", "1@stack.mrcs"]
    assert particles["rlnNobodyKnowsThis"].tolist() == ["b", "a"]
    assert particles["rlnMicrographName"].tolist() == ["0003", "0004"]
    assert particles["rlnOriginXAngst"].tolist() == [4.5, -6.0]
    assert particles["rlnAngleRot"].tolist() == [0, 0]
    assert "rlnOriginX" not in particles
    assert optics["rlnVoltage"].tolist() == [300, 200]  # a group for each setting
    assert optics["rlnImagePixelSize"].tolist() == [2, 2]
    assert particles["rlnOpticsGroup"].tolist() == [1, 2]


def test_poses_of_relion_30_are_read_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "in.star").write_text(V30)
    table = read_table(tmp_path / "in.star")
    assert table["translation_x"].tolist() == [-1, 0]
    assert table["translation_y"].tolist() == [2, -0.5]
    assert table["rotation"].tolist() == [30, -170]
    assert table["class"].isna().all()


def test_star_of_relion_31_keeps_its_optics_groups(tmp_path: Path, stack: ParticleStack) -> None:
    (tmp_path / "in.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnMine\n7 2.0 x\n9 2.02 y\n"
        "\ndata_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnYours\n"
        "1@stack.mrcs 7 p\n2@stack.mrcs 9 q\n"
    )
    write_table(tmp_path / "out.star", _poses(), stack=read_stack(tmp_path / "in.star"))
    blocks = starfile.read(tmp_path / "out.star")
    assert blocks["optics"]["rlnMine"].tolist() == ["x", "y"]
    assert blocks["particles"]["rlnYours"].tolist() == ["p", "q"]
    assert blocks["particles"]["rlnOriginXAngst"].tolist() == [2.25 * 2, pytest.approx(-3 * 2.02)]


def test_some_rows_of_a_stack_keep_their_own_names(tmp_path: Path, stack: ParticleStack) -> None:
    write_table(tmp_path / "a.star", _poses()[1:], stack=stack)
    particles = starfile.read(tmp_path / "a.star")["particles"]
    assert particles["rlnImageName"].tolist() == [f"000002@{stack.path}"]


def test_star_with_images_and_positions_gives_what_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_text(
        "data_particles\n\nloop_\n_rlnImageName\n_rlnCoordinateX\n_rlnCoordinateY\n"
        "_rlnMicrographName\n1@a.mrcs 3 4 m.mrc\n"
    )
    assert read_table(tmp_path / "a.star")["translation_x"].tolist() == [0]
    picks = read_table(tmp_path / "a.star", "picks")
    assert picks.loc[0, ["image", "y", "x"]].tolist() == ["m.mrc", 4, 3]


def test_box_file_holds_corners(tmp_path: Path) -> None:
    write_table(tmp_path / "a.box", _picks(), box_size=9)
    assert (tmp_path / "a.box").read_text().splitlines() == ["16\t6\t9\t9", "2\t26\t9\t9"]
    back = read_table(tmp_path / "a.box")
    assert back[["y", "x"]].to_numpy().tolist() == [[10, 20], [30, 6]]
    assert back["rotation"].isna().all()


CBOX = """
data_global

_cbox_format_version 1.0

data_cryolo

loop_
_CoordinateX #1
_CoordinateY #2
_CoordinateZ #3
_Width #4
_Height #5
_Depth #6
_EstWidth #7
_EstHeight #8
_Confidence #9
_NumBoxes #10
_Angle #11
16.0 6.5 <NA> 9 8 <NA> 7.2 7.4 0.75 <NA> <NA>
-2.0 26.0 <NA> 8 8 <NA> 7.2 7.4 0.25 <NA> <NA>


data_cryolo_include

loop_
_slice_index #1
"""


def test_cbox_file_holds_corners_of_boxes_and_their_confidence(tmp_path: Path) -> None:
    (tmp_path / "m1.cbox").write_text(CBOX)
    table = read_table(tmp_path / "m1.cbox")
    assert table[["x", "y", "score"]].to_numpy().tolist() == [[20.5, 10.5, 0.75], [2, 30, 0.25]]
    assert table["image"].tolist() == ["m1", "m1"] and table["rotation"].isna().all()


def test_coords_file_holds_centres(tmp_path: Path) -> None:
    (tmp_path / "m1.coords").write_text("20.5 10\n6\t30\n")
    table = read_table(tmp_path / "m1.coords")
    assert table[["x", "y"]].to_numpy().tolist() == [[20.5, 10], [6, 30]]
    assert table["image"].tolist() == ["m1", "m1"]
    (tmp_path / "m2.coords").write_text("image_name\tx_coord\ty_coord\tscore\nm7\t20\t10\t0.5\n")
    table = read_table(tmp_path / "m2.coords")
    assert table.loc[0, ["image", "x", "y", "score"]].tolist() == ["m7", 20, 10, 0.5]


def test_box_of_another_program_may_be_helical_or_empty(tmp_path: Path) -> None:
    (tmp_path / "a.box").write_text("16 6 8 8 -1\n2 26 8 8 -2\n")
    assert read_table(tmp_path / "a.box")["x"].tolist() == [20, 6]
    for name in ("b.box", "b.coords"):
        (tmp_path / name).write_text("\n")
        assert read_table(tmp_path / name).empty


def test_topaz_table_comes_back_to_whole_pixels(tmp_path: Path) -> None:
    write_table(tmp_path / "a.txt", _picks())
    assert (tmp_path / "a.txt").read_text().splitlines()[0] == "image_name\tx_coord\ty_coord\tscore"
    back = read_table(tmp_path / "a.txt")
    assert back["image"].tolist() == ["0003", "0003"]
    assert back[["y", "x", "score"]].to_numpy().tolist() == [[10, 20, 0.5], [30, 6, -1]]


def test_further_columns_of_a_csv_stay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,view,image\n1,2,top,0007\n")
    table = read_table(tmp_path / "a.csv")
    assert list(table) == ["image", "y", "x", "rotation", "score", "class", "view"]
    assert table.loc[0, ["image", "view"]].tolist() == ["0007", "top"]


@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5),
    st.lists(st.floats(-1e4, 1e4), min_size=5, max_size=5),
)
def test_csv_round_trip_loses_less_than_a_thousandth(
    tmp_path_factory: pytest.TempPathFactory, rotation: list[float], place: list[float]
) -> None:
    path = tmp_path_factory.mktemp("t") / "a.csv"
    n = len(rotation)
    table = pose_table(rotation, np.stack([place[:n], place[:n]], -1), place[:n])
    assert table["rotation"].between(-180, 180, inclusive="left").all()
    write_table(path, table)
    back = read_table(path)
    assert back["rotation"].between(-180, 180, inclusive="left").all()
    np.testing.assert_allclose(back["translation_y"], table["translation_y"], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", "x,z\n1,2\n", "no column y"),
        ("a.csv", "x,y,score\n1,2,high\n", "column score"),
        ("a.csv", "x,y\n1,\n", "row 1 has no place"),
        ("a.csv", "x,y\n1,2\n3,4,5,6\n", "row 2 has 4 cells"),
        ("a.csv", "", "is empty"),
        ("a.csv", "x,y,class\n1,2,0.5\n", "class"),
        ("a.box", "a b c d\n", "EMAN"),
        ("a.box", "1 2\n", "EMAN"),
        ("a.txt", "hello\n", "Topaz"),
        ("a.cbox", "16 6 8 8\n", "no table data_cryolo"),
        ("a.cbox", CBOX.replace("6.5 <NA>", "6.5 3").replace("26.0 <NA>", "26 4"), "in a volume"),
        ("a.cbox", CBOX.replace("6.5", "high"), "cbox file of numbers"),
        ("a.coords", "1 2 3 4\n", "4 numbers a line"),
        ("a.coords", "one two\n", r"a \.coords file"),
        ("a.json", "{}", r"read from \.csv"),
        ("a.star", "data_\n\nloop_\n_rlnImageName\n_rlnOriginXAngst\n1@a 3\n", "no pixel size"),
    ],
)
def test_tables_that_are_none_are_refused(
    tmp_path: Path, name: str, content: str, match: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=match):
        read_table(tmp_path / name)


def test_formats_that_can_not_hold_a_table_are_refused(
    tmp_path: Path, stack: ParticleStack
) -> None:
    for name, match in [
        ("a.box", "hold picks"),
        ("a.star", "need the stack"),
        ("a.xls", "as .csv"),
    ]:
        with pytest.raises(InputError, match=match):
            write_table(tmp_path / name, _poses())
    with pytest.raises(InputError, match="box size"):
        write_table(tmp_path / "a.box", _picks())
    with pytest.raises(InputError, match="of one image"):
        write_table(tmp_path / "a.box", pd.concat([_picks("a"), _picks("b")]), box_size=4)
    with pytest.raises(InputError, match="a pose names another"):
        write_table(tmp_path / "a.star", _poses().assign(index=[0, 2]), stack=stack)
    assert not list(tmp_path.glob("a.*"))


def test_table_of_other_columns_is_our_own_slip(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this one has"):
        write_table(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
