"""The XML formats share elements, numbers in base64, and deflated ones of a declared length."""

from __future__ import annotations

import base64
import binascii
import lzma
import zlib
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Real

from geocnn.geometry.io.raw import damaged

ZLIB, LZMA = "vtkZLibDataCompressor", "vtkLZMADataCompressor"
COMPRESSORS = (None, ZLIB, LZMA)
"""VTK's names for the compressors of Python's standard library."""

MOST_DEFLATED = 1032
"""One byte deflated by zlib becomes at most so many bytes (RFC 1951). More of lzma are refused as an
attack on memory: it compresses a block of 32 KiB, which VTK writes, to no less than a 250th.
"""

MOST_LZMA = 2**28
"""lzma may use so many bytes of working memory; its strongest setting takes a quarter of it."""


def parsed(content: bytes, root: str) -> ElementTree.Element:
    """Return the root element, which must have the given name."""
    try:
        element = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as broken:
        raise damaged(f"it is no whole XML ({broken})") from broken
    if element.tag != root:
        raise damaged(f"its XML must be a {root}, it is a {element.tag}")
    return element


def whole(element: ElementTree.Element, name: str, default: str | None = None) -> int:
    """Return an attribute that is a whole number."""
    value = element.get(name, default) or ""
    if not (value.isdecimal() and value.isascii() and len(value) <= 18):
        raise damaged(f"its {element.tag} has {name}='{value}', no whole number")
    return int(value)


def decoded(text: bytes) -> bytes:
    """Decode base64; spaces and line feeds do not count."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as broken:
        raise damaged(f"numbers in base64 are cut off or changed ({broken})") from broken


def inflated(content: bytes, size: int, compressor: str = ZLIB) -> bytes:
    """Inflate bytes with a zlib or gzip header, or of lzma; they must become `size` bytes."""
    if size > MOST_DEFLATED * (len(content) + 1):
        raise damaged(
            f"{len(content)} deflated bytes would become {size}, more than {MOST_DEFLATED} times as many"
        )
    stream = lzma.LZMADecompressor(memlimit=MOST_LZMA) if compressor == LZMA else zlib.decompressobj(47)
    try:
        data = stream.decompress(content, size + 1)
    except (zlib.error, lzma.LZMAError, EOFError) as broken:
        raise damaged(f"deflated numbers are cut off or changed ({broken})") from broken
    if len(data) != size or not (stream.eof or size == 0):
        raise damaged(f"deflated numbers of {size} bytes are {len(data)}, or cut off")
    return data


def array(content: bytes, dtype: np.dtype) -> Real[np.ndarray, " numbers"]:
    """Return the numbers in this machine's byte order."""
    if len(content) % dtype.itemsize:
        raise damaged(f"{len(content)} bytes are no whole number of values of {dtype.itemsize}")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
