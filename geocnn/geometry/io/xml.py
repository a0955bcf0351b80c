"""What the XML formats share: elements, numbers in base64, and deflated ones that are as long as they say."""

from __future__ import annotations

import base64
import binascii
import lzma
import zlib
from xml.etree import ElementTree

import numpy as np

from geocnn.geometry.io.raw import damaged

ZLIB, LZMA = "vtkZLibDataCompressor", "vtkLZMADataCompressor"
COMPRESSORS = (None, ZLIB, LZMA)
"""As VTK calls them; those of Python's standard library."""

MOST_DEFLATED = 1032
"""How many bytes one byte deflated by zlib can become (RFC 1951)."""

MOST_LZMA = 2**28
"""Bytes of working memory that data of lzma may ask for; with its strongest setting it takes a quarter."""


def parsed(content: bytes, root: str) -> ElementTree.Element:
    """The root element, of the given name."""
    try:
        found = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as broken:
        raise damaged(f"it is no whole XML ({broken})") from broken
    if found.tag != root:
        raise damaged(f"its XML must be a {root}, it is a {found.tag}")
    return found


def whole(element: ElementTree.Element, name: str, default: str | None = None) -> int:
    """An attribute that is a number of things."""
    value = element.get(name, default) or ""
    if not (value.isdecimal() and value.isascii() and len(value) <= 18):
        raise damaged(f"its {element.tag} has {name}='{value}', no whole number")
    return int(value)


def decoded(text: bytes) -> bytes:
    """The bytes of a base64 text; spaces and line feeds do not count."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as broken:
        raise damaged(f"numbers in base64 are cut off or changed ({broken})") from broken


def inflated(content: bytes, size: int, compressor: str = ZLIB) -> bytes:
    """Bytes deflated with a zlib or gzip header, or by lzma, which must become `size` bytes."""
    if compressor == ZLIB and size > MOST_DEFLATED * (len(content) + 1):
        raise damaged(f"{len(content)} deflated bytes cannot become {size}")
    stream = lzma.LZMADecompressor(memlimit=MOST_LZMA) if compressor == LZMA else zlib.decompressobj(47)
    try:
        found = stream.decompress(content, size + 1)
    except (zlib.error, lzma.LZMAError, EOFError) as broken:
        raise damaged(f"deflated numbers are cut off or changed ({broken})") from broken
    if len(found) != size or not (stream.eof or size == 0):
        raise damaged(f"deflated numbers of {size} bytes are {len(found)}, or cut off")
    return found


def array(content: bytes, dtype: np.dtype) -> np.ndarray:
    """The numbers, in this machine's byte order."""
    if len(content) % dtype.itemsize:
        raise damaged(f"{len(content)} bytes are no whole number of values of {dtype.itemsize}")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
