"""Tables as other programs, and other people, write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import starfile

from napari_equipose.geometry import InputError, rotations_from_relion, rotations_to_relion
from napari_equipose.io import (
    ParticleStack,
    check_writable,
    napari_get_reader,
    pick_table,
    pose_table,
    read_places,
    read_stack,
    read_table,
    write_mrc,
    write_table,
)

PICKS = "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n_rlnMicrographName #3\n"
ROWS = "57.5 111.25 a.mrc\n96 21 b.mrc\n"


def _star(folder: Path, text: str | bytes, name: str = "a.star") -> Path:
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(content)
    return folder / name


def _points(path: Path) -> dict[str, Any]:
    reader = napari_get_reader(str(path))
    assert reader is not None
    data, meta, kind = reader(str(path))[-1]
    assert kind == "points"
    return {"data": np.asarray(data), **meta}


@pytest.mark.parametrize(
    "text",
    [
        PICKS.replace("loop_\n", "loop_\n\n# said before the names\n\n") + ROWS,
        (PICKS + ROWS).replace("\n", "\r"),
        (PICKS + ROWS).replace("\n", "\r\n"),
        (PICKS + ROWS).encode("utf-16"),
        (PICKS + ROWS).encode("utf-16-be").join([b"\xfe\xff", b""]),
        (PICKS + ROWS).encode("utf-8-sig"),
        PICKS.replace("data_", "DATA_").replace("loop_", "Loop_") + ROWS,
        PICKS + ROWS.replace(" a.mrc", "\t  'a.mrc'   # the first").replace("\n", "\n\n"),
        PICKS.replace("data_", "# version 50001\n\ndata_particles") + ROWS,
        "data_general\n\n_rlnThing 'two words'\n\n" + PICKS + ROWS,
    ],
)
def test_star_is_read_however_it_is_laid_out(tmp_path: Path, text: str | bytes) -> None:
    table = read_table(_star(tmp_path, text))
    assert table[["image", "y", "x"]].to_numpy().tolist() == [
        ["a.mrc", 111.25, 57.5],
        ["b.mrc", 21, 96],
    ]


def test_star_block_without_a_loop_is_one_particle(tmp_path: Path) -> None:
    text = "data_particles\n\n_rlnCoordinateX 33.5\n_rlnCoordinateY 44\n_rlnMicrographName 0003\n"
    table = read_table(_star(tmp_path, text))
    assert table[["image", "y", "x"]].to_numpy().tolist() == [["0003", 44, 33.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PICKS.replace("Y #2", "X #2") + ROWS, "the column rlnCoordinateX twice"),
        (PICKS + "1 2 a.mrc\n3 4\n", "line 8 has 2 values, and there are 3 columns"),
        (PICKS + "1 2 a.mrc\n3 4 b.mrc 5\n", "line 8 has 4 values"),
        (PICKS + "1 2 a.mrc\nhigh 4 b.mrc\n", "row 2: 'high' in column rlnCoordinateX"),
        ((PICKS + ROWS).encode("utf-16")[2:], "no text"),
        (PICKS.encode() + b"1 2 \xff\xfe\n", "no text in UTF-8"),
        (PICKS.replace("data_", "data_particles") * 2, "data_particles twice"),
    ],
)
def test_star_that_is_wrong_is_refused_in_plain_words(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    if isinstance(text, str) and text.count("data_particles") == 2:
        text = text.replace("#3\n", "#3\n" + ROWS)
    with pytest.raises(InputError, match=message) as refusal:
        read_table(_star(tmp_path, text))
    assert "\n" not in str(refusal.value)


NAMES = ["it's/a.mrc", 'the "best" one.mrc', "'quoted'", '"', "a#1.mrc", "#2", "_3", "", "data_4"]
NAMES += ["two words", "it's two", "loop_", "0003", "größe.mrc", "a\u00a0b", " ahead", "NA", "b "]


@pytest.mark.parametrize("suffix", [".star", ".csv"])
@pytest.mark.parametrize("name", NAMES)
def test_names_come_back_as_they_were(tmp_path: Path, name: str, suffix: str) -> None:
    picks = pick_table(name, [[1.5, 2], [3, 4]], [0.0, 1.0], [0.5, 0.25])
    check_writable(tmp_path / f"a{suffix}", [name])
    write_table(tmp_path / f"a{suffix}", picks, pixel_size=2.0)
    back = read_table(tmp_path / f"a{suffix}")
    pd.testing.assert_frame_equal(back, picks, check_dtype=False, atol=1e-5)


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\rb", "a\" b' c"])
def test_names_that_star_can_not_hold_are_refused_before_the_work(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"STAR files can't hold.*\.csv"):
        check_writable(tmp_path / "a.star", ["good.mrc", name])
    with pytest.raises(InputError, match=r"a\.star.*STAR files can't hold"):
        write_table(tmp_path / "a.star", pick_table(name, [[1, 2]]), pixel_size=2.0)
    assert not list(tmp_path.iterdir())
    write_table(tmp_path / "a.csv", pick_table(name, [[1, 2]]))
    assert read_table(tmp_path / "a.csv")["image"].tolist() == [name]


def test_what_is_written_is_read_by_another_program(tmp_path: Path) -> None:
    write_table(tmp_path / "a.star", pick_table("two words.mrc", [[1, 2]], [1.0]), pixel_size=2.0)
    particles = starfile.read(tmp_path / "a.star")["particles"]
    assert particles.loc[0, "rlnMicrographName"] == "two words.mrc"
    assert particles.loc[0, "rlnAnglePsi"] == pytest.approx(np.degrees(1.0))


MANUAL = (
    "data_particles\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnClassNumber\n_rlnAnglePsi\n"
    "_rlnAutopickFigureOfMerit\n57 111 -999 -999.0 -999.0\n96 21 2 90 0.5\n"
)


def test_minus_999_of_relion_is_not_known(tmp_path: Path) -> None:
    table = read_table(_star(tmp_path, MANUAL))
    known = table[["rotation", "score", "class"]].astype(float).to_numpy()
    np.testing.assert_array_equal(known, [[np.nan] * 3, [90, 0.5, 1]])
    write_table(tmp_path / "b.star", table, pixel_size=2.0)
    written = starfile.read(tmp_path / "b.star")["particles"]
    assert written["rlnAutopickFigureOfMerit"].tolist() == [-999, 0.5]
    pd.testing.assert_frame_equal(read_table(tmp_path / "b.star"), table, check_dtype=False)


def _optics(columns: str, values: str, group: int = 1) -> str:
    names = "".join(f"_{name}\n" for name in columns.split())
    rows = "".join(f"{row} {group}\n" for row in ("57 111 a.mrc", "96 21 a.mrc"))
    return (
        f"data_optics\n\nloop_\n_rlnOpticsGroup\n{names}1 {values}\n\n"
        + PICKS.replace("data_", "data_particles")
        + "_rlnOpticsGroup #4\n"
        + rows
    )


@pytest.mark.parametrize(
    ("columns", "values", "pixel_size"),
    [
        ("rlnMicrographPixelSize rlnImagePixelSize", "2.0 8.0", 2),
        ("rlnImagePixelSize rlnMicrographPixelSize", "8.0 2.0", 2),
        ("rlnMicrographOriginalPixelSize rlnMicrographPixelSize", "1.0 2.0", 2),
        ("rlnMicrographOriginalPixelSize rlnImagePixelSize", "2.0 8.0", 2),
        ("rlnTomoTiltSeriesPixelSize rlnImagePixelSize", "2.0 8.0", 2),
        ("rlnMicrographPixelSize", "-1", None),
        ("rlnMicrographPixelSize", "0", None),
        ("rlnMicrographPixelSize", "nan", None),
        ("rlnVoltage", "300", None),
    ],
)
def test_scale_of_picks_is_the_micrographs(
    tmp_path: Path, columns: str, values: str, pixel_size: float | None
) -> None:
    points = _points(_star(tmp_path, _optics(columns, values)))
    assert points.get("scale") == (None if pixel_size is None else (pixel_size, pixel_size))
    assert points["data"].tolist() == [[111, 57], [21, 96]]


def test_particle_of_an_optics_group_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = _star(tmp_path, _optics("rlnMicrographPixelSize", "2.0", group=7))
    with pytest.raises(InputError, match=r"row 1: its rlnOpticsGroup 7 is not in .*data_optics"):
        _points(path)
    with pytest.raises(InputError, match="rlnOpticsGroup 7"):
        read_table(path)


TOMO = (
    "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n"
    "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnTomoTiltSeriesPixelSize\n1 2.0\n\n"
    "data_particles\n\nloop_\n_rlnTomoName\n{0}X{1}\n{0}Y{1}\n{0}Z{1}\n_rlnOpticsGroup\n"
    "TS_1 10.5 3 7 1\nTS_2 1 2 3 1\n"
)
PLAIN = TOMO.format("_rlnCoordinate", "")
CENTRED = TOMO.format("_rlnCenteredCoordinate", "Angst")


def test_tomograms_of_relion_keep_their_names_and_scale(tmp_path: Path) -> None:
    path = _star(tmp_path, PLAIN)
    table = read_table(path)
    assert table[["image", "z", "y", "x"]].to_numpy().tolist() == [
        ["TS_1", 7, 3, 10.5],
        ["TS_2", 3, 2, 1],
    ]
    assert _points(path)["scale"] == (2, 2, 2)


def test_positions_from_the_middle_of_tomograms_need_their_size(tmp_path: Path) -> None:
    path = _star(tmp_path, CENTRED)
    with pytest.raises(InputError, match=r"rlnCenteredCoordinateXAngst.*put TS_1\.mrc or"):
        read_table(path)
    for number, shape in ((1, (20, 40, 60)), (2, (22, 42, 62))):
        name = tmp_path / ("TS_1.mrc" if number == 1 else "rec_TS_2_Vol.mrc")
        write_mrc(name, np.zeros(shape, np.float32), 2.0)
    middle = np.array([[10, 20, 30], [11, 21, 31]])
    expected = np.array([[7, 3, 10.5], [3, 2, 1]]) / 2 + middle
    np.testing.assert_allclose(read_table(path)[["z", "y", "x"]], expected)
    assert _points(path)["scale"] == (2, 2, 2)


def test_positions_in_a_binned_tomogram_are_in_its_pixels(tmp_path: Path) -> None:
    path = _star(tmp_path, CENTRED.replace("TS_2", "TS_1"))
    write_mrc(tmp_path / "TS_1.mrc", np.zeros((10, 20, 30), np.float32), 8.0)
    expected = np.array([[7, 3, 10.5], [3, 2, 1]]) / 8 + [5, 10, 15]
    np.testing.assert_allclose(read_table(path)[["z", "y", "x"]], expected)
    assert _points(path)["scale"] == (8, 8, 8)


def test_sizes_of_tomograms_may_be_listed(tmp_path: Path) -> None:
    path = _star(tmp_path, CENTRED.replace("TS_2", "TS_1"))
    columns = "".join(f"_rlnTomoSize{axis}\n" for axis in "XYZ")
    text = f"data_global\n\nloop_\n_rlnTomoName\n{columns}_rlnTomoTiltSeriesPixelSize\n"
    _star(tmp_path, text + "TS_1 600 400 200 2.5\n", "tomograms.star")
    expected = np.array([[7, 3, 10.5], [3, 2, 1]]) / 2.5 + [100, 200, 300]
    np.testing.assert_allclose(read_table(path)[["z", "y", "x"]], expected)


def test_angles_in_rotated_subtomograms_are_those_in_the_tomogram(tmp_path: Path) -> None:
    angles = [f"_rlnTomoSubtomogram{a}\n_rlnAngle{a}\n" for a in ("Rot", "Tilt", "Psi")]
    text = PLAIN.replace("_rlnOpticsGroup\nTS_1", f"_rlnOpticsGroup\n{''.join(angles)}TS_1")
    text = text.replace(" 1\nTS", " 1 10 40 20 50 30 60\nTS")
    path = _star(tmp_path, text.removesuffix("\n") + " 10 40 20 50 30 60\n")
    box, within = rotations_from_relion(np.array([[10.0, 20, 30], [40, 50, 60]]))
    expected = rotations_to_relion((within @ box)[None])[0]
    np.testing.assert_allclose(
        read_table(path).loc[0, ["rot", "tilt", "psi"]].astype(float), expected
    )


def test_stacks_of_tilts_are_not_taken_for_volumes(tmp_path: Path) -> None:
    text = PLAIN.replace("_rlnTomoName\n", "_rlnTomoName\n_rlnImageName\n")
    path = _star(tmp_path, text.replace("TS_1 ", "TS_1 p.mrcs ").replace("TS_2 ", "TS_2 p.mrcs "))
    write_mrc(tmp_path / "p.mrcs", np.zeros((9, 8, 8), np.float32))
    with pytest.raises(InputError, match="rlnTomoSubTomosAre2DStacks"):
        read_stack(path)


def test_name_of_a_tilt_series_may_lack_what_a_program_added(tmp_path: Path) -> None:
    write_mrc(tmp_path / "v.mrcs", np.zeros((4, 8, 8), np.float32))
    text = PLAIN.replace("_rlnTomoName\n", "_rlnImageName\n_rlnTomoName\n")
    text = text.replace("Stacks 1", "Stacks 0").replace("TS_1", "1@v.mrcs TS_1_Vol")
    stack = read_stack(_star(tmp_path, text.replace("TS_2", "2@v.mrcs TS_2_Vol")))
    rows, places = read_places(stack, tmp_path / "TS_2.mrc")
    assert rows.tolist() == [1] and places.tolist() == [[3, 2, 1]]
    with pytest.raises(InputError, match="none of the particles"):
        read_places(stack, tmp_path / "TS_12.mrc")


def test_folder_of_cryosparcs_project_is_found(tmp_path: Path) -> None:
    write_mrc(tmp_path / "J1" / "s.mrc", np.arange(32, dtype=np.float32).reshape(2, 4, 4))
    stack = read_stack(_star(tmp_path, "data_\nloop_\n_rlnImageName\n2@>J1/s.mrc\n1@>J1/s.mrc\n"))
    assert stack.images[:, 0, 0].tolist() == [16, 0]
    write_table(tmp_path / "b.star", pose_table([0.0, 1], np.zeros((2, 2))), stack=stack)
    names = starfile.read(tmp_path / "b.star")["particles"]["rlnImageName"]
    assert names.tolist() == ["2@>J1/s.mrc", "1@>J1/s.mrc"]


def test_two_stacks_of_one_bare_name_are_not_taken_for_one(tmp_path: Path) -> None:
    write_mrc(tmp_path / "p.mrcs", np.zeros((2, 4, 4), np.float32))
    names = "data_\nloop_\n_rlnImageName\n1@A/p.mrcs\n{}\n"
    for other in ("1@B/p.mrcs", "1@p.mrcs", "1@/gone/p.mrcs"):
        with pytest.raises(InputError, match=r"A/p\.mrcs.*, of which only .*p\.mrcs is there"):
            read_stack(_star(tmp_path, names.format(other)))
    read_stack(_star(tmp_path, names.format("2@A/p.mrcs")))  # moved, and only one
    write_mrc(tmp_path / "A" / "p.mrcs", np.zeros((2, 4, 4), np.float32))
    read_stack(_star(tmp_path, names.format("1@B/p.mrcs")))
    (tmp_path / "B").symlink_to(tmp_path / "A")
    read_stack(_star(tmp_path, names.format("1@B/p.mrcs")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,y,x\na,1,2,9\na,4,5,9\n", "row 1 has 4 cells, and the header 3"),
        ("image,y,x\na,1,2\na,4,5,9\n", "row 2 has 4 cells"),
        ("image,y,x\na,111,77,57,08\n", "row 1 has 5 cells"),
        ("y,x,y\n1,2,3\n", "the column y twice"),
    ],
)
def test_csv_rows_that_may_have_shifted_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text",
    [
        "image;y;x;view\nä;1,5;2;side\n",
        "sep=;\nimage;y;x\nä;1.5;2\n",
        "image\ty\tx\nä\t1.5\t2\n",
        "Micrograph Name,X-Coordinate,Y-Coordinate\nä,2,1.5\n",
        "rlnMicrographName,x_coord,y_coord\nä,2,1.5\n",
        "\ufeffimage, y, x\r\nä, 1.5, 2\r\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_csv_of_spreadsheets_and_other_programs_is_read(
    tmp_path: Path, text: str, encoding: str
) -> None:
    if encoding == "latin-1":
        text = text.removeprefix("\ufeff")
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "a.csv")
    assert table.loc[0, ["image", "y", "x"]].tolist() == ["ä", 1.5, 2]


def test_topaz_tables_are_read_as_strictly(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("image_name\tx_coord\ty_coord\na\t1\t2\t9\n")
    with pytest.raises(InputError, match="row 1 has 4 cells"):
        read_table(path)
    path.write_text("image_name\tx_coord\ty_coord\n0003\t1\t2\nNA\t3\t4\n")
    table = read_table(path)[["image", "y", "x"]].to_numpy().tolist()
    assert table == [["0003", 2, 1], ["NA", 4, 3]]


def test_cell_that_is_no_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('image,y,x\na,1,2\na,"1,5",2\n')
    with pytest.raises(InputError, match="row 2: '1,5' in column y is no number"):
        read_table(tmp_path / "a.csv")


def test_coords_in_space_and_of_the_shorter_suffix_are_read(tmp_path: Path) -> None:
    for name in ("m.coords", "m.coord"):
        (tmp_path / name).write_text("20.5 10 3\n6\t30\t4\n")
        table = read_table(tmp_path / name)
        assert table[["z", "y", "x"]].to_numpy().tolist() == [[3, 10, 20.5], [4, 30, 6]]
        assert table["image"].tolist() == ["m", "m"] and table["psi"].isna().all()


@pytest.fixture
def stack(tmp_path: Path) -> ParticleStack:
    np.save(tmp_path / "s.npy", np.zeros((2, 8, 8)))
    return read_stack(tmp_path / "s.npy")


def test_no_pixel_size_is_invented(tmp_path: Path, stack: ParticleStack) -> None:
    (note,) = write_table(tmp_path / "a.star", pick_table("a.mrc", [[1, 2]]))
    assert "a.star has no pixel size" in note
    assert list(starfile.read(tmp_path / "a.star")["optics"]) == [
        "rlnOpticsGroupName",
        "rlnOpticsGroup",
    ]
    assert not {"scale", "units"} & set(_points(tmp_path / "a.star"))
    assert write_table(tmp_path / "b.star", pick_table("a.mrc", [[1, 2]]), pixel_size=2.0) == []
    poses = pose_table([0.0, 1.0], [[1, 2], [3, 4]])
    (note,) = write_table(tmp_path / "c.star", poses, stack=stack)
    blocks = starfile.read(tmp_path / "c.star")
    assert "rlnImagePixelSize" not in blocks["optics"]
    assert blocks["particles"]["rlnOriginX"].tolist() == [-2, -4]
    pd.testing.assert_frame_equal(read_table(tmp_path / "c.star"), poses, check_dtype=False)
