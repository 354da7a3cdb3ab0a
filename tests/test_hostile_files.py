"""Files that lie, are damaged, or mean harm: each is refused by its name, at little cost."""

import ast
import gzip
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.codecs.numcodecs import BZ2, LZ4, LZMA, Zlib

import napari_equipose
from napari_equipose.geometry import InputError
from napari_equipose.io import _blocks, read_image, read_stack, read_table, write_mrc
from napari_equipose.models import (
    Normalisation,
    TargetVAE,
    TargetVAEConfig,
    load_model,
    save_model,
)
from napari_equipose.models._saved import _digest
from napari_equipose.simulation import read_pdb

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 999, (24, 32), dtype=np.uint16)
CONFIG = TargetVAEConfig(box_size=15, fields=4, generator_width=8, n_features=8)
MOST_MEMORY = 2**26
Maker = Callable[[Path], Path]


class _Bait:
    """Makes a file called "harm" when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / "harm")

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._path,)


def _bytes(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _mrc(**fields: Any) -> Maker:
    """An MRC file of which some words of the header, by their places, are others."""

    def make(folder: Path) -> Path:
        path = folder / "a.mrc"
        write_mrc(path, PLANE.astype(np.float32))
        words = np.frombuffer(path.read_bytes(), "<i4").copy()
        places = {"nx": 0, "ny": 1, "nz": 2, "mode": 3, "mz": 9, "ispg": 22, "nsymbt": 23}
        for name, value in fields.items():
            words[places[name]] = value
        path.write_bytes(words.tobytes())
        return path

    return make


def _npy(header: str, data: bytes = bytes(64)) -> Maker:
    packed = header.encode() + b"\n"
    return _bytes("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(packed)) + packed + data)


def _zipped_npy(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.npy", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", bytes(10**6))
    return folder / "a.npy"


def _pickled_npy(folder: Path) -> Path:
    np.save(folder / "a.npy", np.array([_Bait(folder)], object), allow_pickle=True)
    return folder / "a.npy"


def _tiff(**options: Any) -> Maker:
    def make(folder: Path) -> Path:
        tifffile.imwrite(folder / "a.tif", PLANE, **options)
        return folder / "a.tif"

    return make


def _tiff_tags(tags: dict[int, int], **options: Any) -> Maker:
    """A TIFF file of which some tags have other values."""

    def make(folder: Path) -> Path:
        path = _tiff(**options)(folder)
        with tifffile.TiffFile(path, mode="r+") as file:
            for code, value in tags.items():
                file.pages.first.tags[code].overwrite(value, dtype="I")
        return path

    return make


def _tiff_circle(folder: Path) -> Path:
    """Many pages, the last of them followed by the hundred-and-twentieth."""
    path = folder / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(150):
            writer.write(PLANE[:2, :2], metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as file:
        start, last = file.pages[120].offset, file.pages[149].offset
    content = bytearray(path.read_bytes())
    (n_tags,) = struct.unpack_from("<H", content, last)
    struct.pack_into("<I", content, last + 2 + 12 * n_tags, start)
    path.write_bytes(content)
    return path


def _ome(xml: str) -> Maker:
    def make(folder: Path) -> Path:
        outside = folder.parent / f"{folder.name}-outside.tif"
        tifffile.imwrite(outside, PLANE)
        inside = folder / "inner" / "a.tif"
        inside.parent.mkdir()
        filled = xml.replace("OUTSIDE", str(outside)).replace("NAME", outside.name)
        tifffile.imwrite(inside, PLANE, description=filled, metadata=None)
        return inside

    return make


OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="urn:uuid:1"><Image><Pixels DimensionOrder="XYCZT" Type="uint16" SizeX="32" SizeY="24" '
    'SizeC="1" SizeZ="1" SizeT="1"><TiffData><UUID FileName="{}">urn:uuid:2</UUID></TiffData>'
    "</Pixels></Image></OME>"
)
BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "'
    + "ha" * 500
    + '">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 100}">' for a, b in zip("abcdef", "bcdefg", strict=True))
    + "]><OME>&g;</OME>"
)


def _zarr_2(chunk: bytes = b"", **fields: Any) -> Maker:
    described = {
        **{"zarr_format": 2, "shape": [4, 4], "chunks": [4, 4], "dtype": "<f4", "order": "C"},
        **{"compressor": None, "filters": None, "fill_value": 0},
        **fields,
    }

    def make(folder: Path) -> Path:
        path = folder / "a.zarr"
        path.mkdir()
        (path / ".zarray").write_text(json.dumps(described))
        (path / "0.0").write_bytes(chunk or pickle.dumps(_Bait(folder)))
        return path

    return make


def _zarr_text(text: str) -> Maker:
    def make(folder: Path) -> Path:
        (folder / "a.zarr").mkdir()
        (folder / "a.zarr" / "zarr.json").write_text(text)
        return folder / "a.zarr"

    return make


def _zarr_link(folder: Path) -> Path:
    """A chunk that is a link to a file elsewhere."""
    path = folder / "inner" / "a.zarr"
    zarr.create_array(path, data=PLANE, chunks=PLANE.shape, compressors=None)
    (folder / "secret").write_bytes(bytes(PLANE.nbytes))
    (path / "c" / "0" / "0").unlink()
    (path / "c" / "0" / "0").symlink_to(folder / "secret")
    return path


def _ome_zarr(level: str) -> Maker:
    def make(folder: Path) -> Path:
        zarr.create_array(folder / "outside.zarr", data=PLANE)
        group = zarr.create_group(folder / "a.zarr")
        image = {"axes": ["y", "x"], "datasets": [{"path": level}]}
        group.attrs.update({"ome": {"multiscales": [image]}})
        return folder / "a.zarr"

    return make


def _png(width: int, height: int) -> Maker:
    """A PNG file of a few pixels that says it has others."""

    def make(folder: Path) -> Path:
        Image.fromarray(PLANE[:, :1].astype(np.uint8)).save(folder / "a.png")
        content = bytearray((folder / "a.png").read_bytes())
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        (folder / "a.png").write_bytes(content)
        return folder / "a.png"

    return make


IMAGES: list[tuple[str, Maker, str]] = [
    ("mrc-negative", _mrc(nx=-32), "truncated or not an MRC"),
    ("mrc-huge", _mrc(nx=2**31 - 1, ny=2**31 - 1, nz=2**31 - 1), "truncated or not an MRC"),
    ("mrc-header-beyond-file", _mrc(nsymbt=2**31 - 1), "truncated or not an MRC"),
    ("mrc-header-negative", _mrc(nsymbt=-512), "truncated or not an MRC"),
    ("mrc-mode", _mrc(mode=77), "not an MRC file"),
    ("mrc-complex", _mrc(mode=4, nx=16), "complex numbers"),
    ("mrc-no-volumes", _mrc(ispg=401, mz=0), "not an MRC file"),
    ("mrc-zipped", _bytes("a.mrc", gzip.compress(RNG.bytes(5000))), "not an MRC file"),
    ("npy-pickle", _pickled_npy, "not a .npy file"),
    ("npy-archive", _zipped_npy, "not a .npy file"),
    (
        "npy-huge",
        _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999, 999999)}"),
        "not a .npy file",
    ),
    (
        "npy-uncountable",
        _npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30}, 4)}}"),
        "not a .npy file",
    ),
    (
        "npy-negative",
        _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -4)}"),
        "not a .npy file",
    ),
    ("npy-call", _npy("__import__('os').mkdir('harm')"), "not a .npy file"),
    ("npy-deep", _npy("(" * 5000), "not a .npy file"),
    ("tiff-wide", _tiff_tags({256: 10**6, 257: 10**6}), "not a TIFF file|declares"),
    (
        "tiff-wide-packed",
        _tiff_tags({256: 10**6, 257: 10**5, 278: 100}, compression="zlib", rowsperstrip=8),
        "declares 200000000000 bytes",
    ),
    (
        "tiff-tile",
        _tiff_tags({322: 2**20, 323: 2**20}, compression="zlib", tile=(16, 16)),
        "too large to unpack",
    ),
    (
        "tiff-declared-shape",
        _tiff(description='{"shape": [900000, 24, 32], "truncated": true}', metadata=None),
        "not a TIFF file",
    ),
    (
        "tiff-declared-slices",
        _tiff(
            description="ImageJ=1.11a\nimages=900000\nslices=900000\n",
            metadata=None,
            compression="zlib",
        ),
        "declares 1382400000 bytes",
    ),
    ("tiff-circle", _tiff_circle, "go round in a circle"),
    ("tiff-ome-climbs", _ome(OME.format("../../NAME")), "names the file '../../"),
    ("tiff-ome-absolute", _ome(OME.format("OUTSIDE")), "parts of an image lie beside it"),
    ("tiff-ome-laughs", _ome(BILLION_LAUGHS), "not a TIFF file"),
    ("zarr-pickle-filter", _zarr_2(filters=[{"id": "pickle"}]), "not a Zarr array"),
    ("zarr-pickle-compressor", _zarr_2(compressor={"id": "pickle"}), "not a Zarr array"),
    (
        "zarr-pickle-hidden",
        _zarr_2(dtype="|O", compressor={"id": "pickle"}, filters=[{"id": "vlen-utf8"}]),
        "images are real numbers",
    ),
    ("zarr-objects", _zarr_2(dtype="|O", filters=[{"id": "pickle"}]), "not a Zarr array"),
    ("zarr-text", _zarr_2(dtype="|O", filters=[{"id": "vlen-utf8"}]), "images are real numbers"),
    ("zarr-huge", _zarr_2(shape=[10**6, 10**6], chunks=[10**3, 10**3]), "declares 4000000000000"),
    ("zarr-large", _zarr_2(shape=[10**4, 10**4], chunks=[10**3, 10**3]), "declares 400000000"),
    ("zarr-huge-chunk", _zarr_2(chunks=[10**6, 10**6]), "too large to unpack"),
    ("zarr-many-chunks", _zarr_2(shape=[20000, 10000], chunks=[1, 1]), "200000000 chunks"),
    ("zarr-short-chunk", _zarr_2(chunk=bytes(7)), "not a Zarr array"),
    ("zarr-negative", _zarr_2(shape=[-4, 4]), "not a Zarr array"),
    ("zarr-deep", _zarr_text('{"a":' * 50_000), "not a Zarr array"),
    ("zarr-link", _zarr_link, "leads out of the folder"),
    ("zarr-climbs", _ome_zarr("../outside.zarr"), "not a Zarr array"),
    ("zarr-absolute", _ome_zarr("/outside.zarr"), "not a Zarr array"),
    ("png-huge", _png(60000, 60000), "a PNG file: Image size"),
    ("png-large", _png(16000, 11000), "declares 704000000 bytes"),
    ("png-missing", _png(2000, 2000), "not a PNG file"),
]


@pytest.mark.parametrize(
    ("make", "message"), [case[1:] for case in IMAGES], ids=[case[0] for case in IMAGES]
)
def test_image_that_lies_is_refused_and_little_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Maker, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as refusal:
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "harm").exists()


# 80 MB of nothing, packed. Each unpacks to all of it, unless it is kept from that.
BOMB = bytes(8 * 10**7)
BOMBS: dict[str, Any] = {
    "zlib": numcodecs.Zlib(9),
    "gzip": numcodecs.GZip(9),
    "bz2": numcodecs.BZ2(9),
    "lzma": numcodecs.LZMA(preset=0),
    "lz4": numcodecs.LZ4(),
    "zstd": numcodecs.Zstd(),
    "blosc": numcodecs.Blosc(),
}


@pytest.fixture(scope="module", params=list(BOMBS))
def bomb(request: pytest.FixtureRequest) -> tuple[Any, bytes]:
    codec = BOMBS[request.param]
    return codec, bytes(codec.encode(BOMB))


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize("form", ["2", "2-filter", "3", "3-shard"])
def test_chunk_of_a_zarr_array_unpacks_to_no_more_than_it_should(
    tmp_path: Path, bomb: tuple[Any, bytes], form: str
) -> None:
    codec, packed = bomb
    path = tmp_path / "a.zarr"
    # One chunk: a second would still be unpacked, in a thread of zarr's, when the first is refused,
    # and CPython before 3.12.9 crashes if tracing stops meanwhile (its issue 128679).
    options: dict[str, Any] = {"compressors": _zarr_3(codec), "chunks": (32, 32)}
    if form.startswith("2"):
        options |= {"zarr_format": 2, "compressors": codec}
    if form == "2-filter":
        options |= {"compressors": None, "filters": [codec]}
    if form == "3-shard":
        options |= {"chunks": (16, 32), "shards": (32, 32)}
    data = RNG.integers(0, 9, (32, 32)).astype("<u2")
    zarr.create_array(path, data=data, **options)
    np.testing.assert_array_equal(read_image(path).data, data)
    chunk = next(file for file in sorted(path.rglob("*0")) if file.is_file())
    chunk.write_bytes(_shard(packed) if form == "3-shard" else packed)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a chunk unpacks to more than"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


def _zarr_3(codec: Any) -> Any:
    name, options = codec.codec_id, {k: v for k, v in codec.get_config().items() if k != "id"}
    own: dict[str, Any] = {"gzip": GzipCodec, "zstd": ZstdCodec, "blosc": BloscCodec}
    if name in own:
        return own[name]()
    return {"zlib": Zlib, "bz2": BZ2, "lzma": LZMA, "lz4": LZ4}[name](**options)


def _shard(chunk: bytes) -> bytes:
    """A shard of two inner chunks, of which the second is missing."""
    index = np.array([0, len(chunk), 2**64 - 1, 2**64 - 1], "<u8").tobytes()
    return chunk + index + google_crc32c.value(index).to_bytes(4, "little")


@pytest.mark.parametrize("packed", ["tiff", "zarr"])
def test_damaged_block_of_a_large_image_is_refused_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str
) -> None:
    monkeypatch.setattr(_blocks, "MOST_BYTES", 100)
    if packed == "tiff":
        path = _tiff(compression="zlib", tile=(16, 16))(tmp_path)
        with tifffile.TiffFile(path) as file:
            start = file.pages.first.dataoffsets[0]
        content = bytearray(path.read_bytes())
        content[start : start + 8] = bytes(8)
        path.write_bytes(content)
    else:
        path = tmp_path / "a.zarr"
        zarr.create_array(path, data=PLANE, chunks=(16, 16))
        (path / "c" / "0" / "0").write_bytes(b"not zstandard")
    image = read_image(path)  # reads no block
    with pytest.raises(InputError, match=path.name):
        np.asarray(image.data)


HEADER = "data_\n\nloop_\n_rlnImageName\n"
STARS = [
    ("climbs", HEADER + "1@../secret.mrcs\n", "1 of 1 image files that are not there"),
    ("climbs-within", HEADER + "1@sub/../../secret.mrcs\n", "image files that are not there"),
    ("other-machine", HEADER + "1@//server/share/s.mrcs\n", "image files that are not there"),
    ("no-image", HEADER + "1@/etc/passwd\n", "are not read as images"),
    ("zeroth", HEADER + "0@s.mrcs\n", "0@s.mrcs is not there; the stack has 2 images"),
    ("beyond", HEADER + "3@s.mrcs\n", "3@s.mrcs is not there; the stack has 2 images"),
    ("uncountable", HEADER + f"{10**30}@s.mrcs\n", "image files that are not there"),
    ("long", HEADER + f"1@{'s' * 5000}.mrcs\n", "image files that are not there"),
    ("nul", HEADER + "1@s\0.mrcs\n", "it is no text"),
    (
        "words",
        HEADER + "_rlnDetectorPixelSize\n1@s.mrcs five\n",
        "DetectorPixelSize is no number",
    ),
    (
        "groups",
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 2\n1 3\n"
        "\ndata_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@s.mrcs 1\n",
        "each row of its optics must have",
    ),
]


@pytest.mark.parametrize(
    ("text", "message"), [case[1:] for case in STARS], ids=[case[0] for case in STARS]
)
def test_star_that_names_what_it_may_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_mrc(tmp_path / "secret.mrcs", np.zeros((2, 4, 4), np.float32))
    write_mrc(tmp_path / "inner" / "s.mrcs", np.zeros((2, 4, 4), np.float32))
    (tmp_path / "inner" / "a.star").write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        read_stack(tmp_path / "inner" / "a.star")
    assert "\n" not in str(refusal.value)


def test_stack_may_be_named_with_its_whole_path(tmp_path: Path) -> None:
    write_mrc(tmp_path / "far" / "s.mrcs", np.ones((2, 4, 4), np.float32))
    (tmp_path / "a.star").write_text(f"{HEADER}2@{tmp_path / 'far' / 's.mrcs'}\n")
    assert np.asarray(read_stack(tmp_path / "a.star").images).sum() == 16


def _config(**changes: Any) -> dict[str, str]:
    return {"config": json.dumps({**CONFIG.__dict__, **changes})}


MODELS: list[tuple[str, dict[str, str], str]] = [
    ("unknown-field", _config(colour=1), "no field 'colour'"),
    ("text-for-number", _config(fields="128"), "fields can't be '128'"),
    ("list-for-number", _config(box_size=[15]), r"box_size can't be \[15\]"),
    ("not-a-number", _config(temperature=float("nan")), "temperature can't be nan"),
    ("unknown-option", _config(lifting="__import__('os')"), "lifting can't be \"__import__"),
    ("fields", _config(fields=10**9), "another network than the one in the file"),
    ("some-more-fields", _config(fields=5), "do not fit"),
    ("box", _config(box_size=10**9), "another network than the one in the file"),
    ("large-box", _config(box_size=60_000, object_size=15), "another network"),
    ("object", _config(object_size=65_535), "another network"),
    ("negative-object", _config(object_size=-65), "another network"),
    ("rotations", _config(n_rotations=10**6), "another network"),
    ("layers", _config(generator_layers=2**16), "another network"),
    ("reach", _config(translation_range=1e300), "another network"),
    ("binning", _config(binning=2**16), "another network"),
    ("basis", _config(lifting="steerable", n_rotations=64, object_size=257), "another network"),
    ("uncountable", _config(content_dim=10**400), "another network"),
    ("config-list", {"config": "[1, 2]"}, "its config has no names"),
    ("deep", {"record": "[" * 10**5}, "not JSON"),
    ("no-json", {"normalisation": "{"}, "not JSON"),
    ("normalisation", {"normalisation": '{"clip": "x"}'}, "clip can't be 'x'"),
    ("threshold", {"record": '{"threshold": "low"}'}, "threshold is 'low'"),
    ("format", {"format": "x"}, "later version"),
    ("digest", {"digest": "0" * 16}, "changed or damaged after it was written"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(path, TargetVAE(CONFIG), Normalisation())
    return path


def _save_as(model: Path, target: Path, weights: dict[str, torch.Tensor], **changes: str) -> Path:
    with safe_open(model, "pt") as file:
        metadata = file.metadata() | changes
    if "digest" not in changes:  # who changes a file on purpose changes that too
        with suppress(ValueError, RecursionError):
            config = json.loads(metadata["config"])
            metadata["digest"] = _digest(metadata["kind"], config, weights)
    save_file(weights, target, metadata)
    return target


def _swelling() -> int:
    """The most memory this process has had, in bytes, where the system counts it."""
    resource = pytest.importorskip("resource")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


@pytest.mark.parametrize(
    ("changes", "message"), [case[1:] for case in MODELS], ids=[case[0] for case in MODELS]
)
def test_model_that_lies_is_refused_and_little_is_allocated(
    tmp_path: Path, model: Path, changes: dict[str, str], message: str
) -> None:
    path = _save_as(model, tmp_path / "m.safetensors", load_file(model), **changes)
    before = _swelling()
    with pytest.raises(InputError, match=message) as refusal:
        load_model(path)
    assert _swelling() - before < MOST_MEMORY
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder.bias", torch.full((4,), torch.nan), "no finite numbers in encoder.bias"),
        ("encoder.bias", torch.zeros(5), "do not fit.*encoder.bias"),
        ("encoder.more", torch.zeros(5), "do not fit.*encoder.more"),
        ("encoder.bias", None, "do not fit.*encoder.bias"),
    ],
)
def test_weights_that_are_not_the_models_are_refused(
    tmp_path: Path, model: Path, name: str, value: torch.Tensor | None, message: str
) -> None:
    weights = {**load_file(model), name: value}
    kept = {key: tensor for key, tensor in weights.items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        load_model(_save_as(model, tmp_path / "m.safetensors", kept))


def test_model_that_lost_a_bit_is_refused(tmp_path: Path, model: Path) -> None:
    content = bytearray(model.read_bytes())
    content[-20] ^= 1
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="changed or damaged after it was written"):
        load_model(tmp_path / "m.safetensors")


def test_pickled_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    torch.save({"weights": _Bait(tmp_path)}, path)
    with pytest.raises(InputError, match="not a model file"):
        load_model(path)
    assert not (tmp_path / "harm").exists()


ATOM = "ATOM      1  CA  ALA A   1    {:>8}{:>8}{:>8}{:>6}  0.00           C\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ATOM.format("nan", 0, 0, 1), "line 1: an atom that is nowhere"),
        (ATOM.format("1e300", 0, 0, 1), "line 1: an atom that is nowhere"),
        (ATOM.format(1, 1, 1, "inf"), "line 1: an atom that is nowhere"),
        ("\n" * 2_000_001, "more than 2000000 lines"),
        ("x" * 10**8, "no atoms"),
    ],
)
def test_structure_that_lies_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.pdb.gz"
    path.write_bytes(gzip.compress(content.encode(), 1))
    del content
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            read_pdb(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def _valid(folder: Path) -> dict[Path, Callable[[Path], Any]]:
    """A small valid file of every kind that is one file, with what reads it."""
    small = PLANE[:12, :16]
    makers: dict[str, Callable[[Path], Any]] = {
        "a.mrc": lambda path: write_mrc(path, small),
        "a.npy": lambda path: np.save(path, small),
        "a.png": lambda path: Image.fromarray(small.astype(np.uint8)).save(path),
        "a.jpg": lambda path: Image.fromarray(small.astype(np.uint8)).save(path),
        "plain.tif": lambda path: tifffile.imwrite(path, small),
        "zip.tif": lambda path: tifffile.imwrite(path, small, compression="zlib", tile=(16, 16)),
        "lzw.tif": lambda path: tifffile.imwrite(path, small, compression="lzw"),
        "jpeg.tif": lambda path: tifffile.imwrite(path, small.astype(np.uint8), compression="jpeg"),
        "ij.tif": lambda path: tifffile.imwrite(path, small, imagej=True, resolution=(2, 2)),
        "a.ome.tif": lambda path: tifffile.imwrite(path, small, metadata={"PhysicalSizeX": 1.0}),
    }
    for name, make in makers.items():
        make(folder / name)
    files: dict[Path, Callable[[Path], Any]] = {
        folder / name: lambda path: np.asarray(read_image(path).data) for name in makers
    }
    write_mrc(folder / "s.mrcs", np.zeros((2, 4, 4), np.float32))
    texts = {
        "a.star": "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 2\n\n"
        "data_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnOriginXAngst\n"
        "1@s.mrcs 1 0.5\n2@s.mrcs 1 -1\n",
        "picks.star": "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnClassNumber\n1 2 3\n",
        "a.csv": "image,y,x,rotation,score,class\na,1,2,3,0.5,1\nb,3,4,,,\n",
        "a.box": "16\t6\t9\t9\n2\t26\t9\t9\n",
        "a.coords": "16 6\n2.5 26\n",
        "a.cbox": "data_cryolo\n\nloop_\n_CoordinateX\n_CoordinateY\n_Width\n_Height\n"
        "_Confidence\n16 6 8 8 0.5\n2 26 8 8 <NA>\n",
        "a.txt": "image_name\tx_coord\ty_coord\tscore\nm\t20\t10\t0.5\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        files[folder / name] = read_table
    files[folder / "a.star"] = lambda path: (
        read_table(path),
        np.asarray(read_stack(path).images),
    )
    (folder / "a.pdb").write_text(3 * ATOM.format("1.0", "2.0", "3.0", "1.00"))
    (folder / "a.pdb.gz").write_bytes(gzip.compress((folder / "a.pdb").read_bytes()))
    files |= {folder / "a.pdb": read_pdb, folder / "a.pdb.gz": read_pdb}
    tiny = TargetVAEConfig(box_size=8, fields=1, generator_width=1, n_features=1, n_rotations=1)
    save_model(folder / "m.safetensors", TargetVAE(tiny), Normalisation())
    files[folder / "m.safetensors"] = load_model
    zarr.create_array(folder / "3.zarr", data=small, chunks=(8, 8))
    zarr.create_array(folder / "2.zarr", data=small, chunks=(8, 8), zarr_format=2)
    for inner in ("3.zarr/zarr.json", "3.zarr/c/0/0", "2.zarr/.zarray", "2.zarr/0.0"):
        files[folder / inner] = lambda path: np.asarray(
            read_image(next(p for p in path.parents if p.suffix == ".zarr")).data
        )
    return files


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    if rng.random() < 0.2:
        return bytes(damaged[: rng.integers(1, len(damaged))])
    # Headers stand at the beginning or the end of most files.
    places = rng.integers(0, len(damaged), 3)
    places[0] %= min(len(damaged), 256)
    for place in places[: rng.integers(1, 4)]:
        damaged[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
    return bytes(damaged)


@pytest.mark.filterwarnings("ignore")  # what parsers say of damage, before they refuse it
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    read = refused = 0
    for path, reader in _valid(tmp_path).items():
        content = path.read_bytes()
        reader(path)
        for _ in range(60):
            path.write_bytes(damaged := _damaged(content, rng))
            try:
                reader(path)
                read += 1
            except InputError as error:
                assert "\n" not in str(error)
                refused += 1
            except Exception as error:
                raise AssertionError(f"{path.name}: {damaged!r}") from error
        path.write_bytes(content)
    assert read > 100 and refused > 100


FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"torch.load", "os.system", "os.popen", "pandas.read_pickle", "pd.read_pickle"}


def _trespasses(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            names = []
            if called in FORBIDDEN_NAMES | FORBIDDEN_CALLS:
                found.append(called)
            if options.get("shell", "False") != "False":
                found.append(f"{called} with a shell")
            if called in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
                found.append(f"{called} without allow_pickle=False")
        else:
            continue
        found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
    return found


def test_package_has_no_means_to_run_what_it_reads() -> None:
    root = Path(napari_equipose.__file__).parent
    files = list(root.rglob("*.py"))
    found = {path.name: _trespasses(ast.parse(path.read_text("utf-8"))) for path in files}
    assert len(files) > 50
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "torch.load(path)",
        "np.load(path)",
    ],
)
def test_means_to_run_what_is_read_are_seen(code: str) -> None:
    assert _trespasses(ast.parse(code))
