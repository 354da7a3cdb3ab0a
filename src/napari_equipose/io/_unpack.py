"""Chunks of a Zarr array that unpack to no more than the array says they hold.

A few kilobytes can unpack to many gigabytes. What is packed by zlib, gzip, bz2 or lzma is unpacked
only so far; blosc, lz4 and zstd say beforehand how much there is, take just that much memory, and
stop there.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from io import BytesIO
from math import prod
from typing import Any

import zarr

_SPARE, _TIMES = 2**16, 16
"""Filters may make a chunk somewhat larger before it is packed."""
_HELD_BY = ("_codec", "_gzip_codec", "_zstd_codec", "_blosc_codec")
_UNKNOWN = 2**64 - 1


class _Bounded:
    """A codec of numcodecs that refuses to unpack more than so many bytes."""

    def __init__(self, codec: Any, most: int) -> None:
        self._inner, self._most = codec, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decode(self, packed: Any, out: Any = None) -> Any:
        """Unpack, as numcodecs does."""
        kind = str(self._inner.codec_id)
        if kind in _STREAMS:
            unpacked = _STREAMS[kind](self._inner, bytes(packed), self._most + 1)
            self._check(len(unpacked))
            return unpacked
        if kind in _SAID:
            self._check(_SAID[kind](bytes(memoryview(packed)[:32])))
        return self._inner.decode(packed, out)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise ValueError(f"a chunk unpacks to more than {self._most} bytes")


def _unlzma(codec: Any, data: bytes, most: int) -> bytes:
    options = {"format": codec.format, "filters": codec.filters}
    if codec.format == lzma.FORMAT_XZ:
        options = {}  # it says all itself
    return lzma.LZMAFile(BytesIO(data), **options).read(most)


_STREAMS = {
    "zlib": lambda codec, data, most: zlib.decompressobj().decompress(data, most),
    "gzip": lambda codec, data, most: gzip.GzipFile(fileobj=BytesIO(data)).read(most),
    "bz2": lambda codec, data, most: bz2.BZ2File(BytesIO(data)).read(most),
    "lzma": _unlzma,
}


def _zstd_says(head: bytes) -> int:
    """Read the content size in the header of a frame (RFC 8878, section 3.1.1.1)."""
    if head[:4] != b"\x28\xb5\x2f\xfd":
        return _UNKNOWN
    single, code = head[4] >> 5 & 1, head[4] >> 6
    length = (single, 2, 4, 8)[code]
    start = 5 + (1 - single) + (0, 1, 2, 4)[head[4] & 3]
    said = int.from_bytes(head[start : start + length], "little")
    return (said + 256 * (code == 1)) if length else _UNKNOWN


_SAID = {
    "blosc": lambda head: int.from_bytes(head[4:8], "little"),
    "lz4": lambda head: int.from_bytes(head[:4], "little"),
    "zstd": _zstd_says,
}


def bound_chunks(array: zarr.Array[Any]) -> None:
    """Let no chunk of an array unpack to much more than its shape and type say."""
    raw = prod(array.shards or array.chunks) * array.dtype.itemsize
    for codec in _codecs(array.async_array.codec_pipeline):
        _bound(codec, _TIMES * raw + _SPARE)


def _codecs(codecs: Any) -> Iterator[Any]:
    for codec in codecs:
        yield codec
        yield from _codecs(getattr(codec, "codecs", ()))  # those inside of shards


def _bound(codec: Any, most: int) -> None:
    # The codecs are frozen, and made by zarr from its registry, which is the host's.
    for name in ("compressor", *_HELD_BY):
        if getattr(codec, name, None) is not None:
            object.__setattr__(codec, name, _Bounded(getattr(codec, name), most))
    if getattr(codec, "filters", None):
        filters = tuple(_Bounded(each, most) for each in codec.filters)
        object.__setattr__(codec, "filters", filters)
