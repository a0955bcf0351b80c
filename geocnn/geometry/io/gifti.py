"""GIFTI surfaces, .gii: XML with arrays as text, in base64, or deflated in base64."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from geocnn.errors import GeometryError
from geocnn.geometry.io.raw import Polygons, damaged, place_by_rows
from geocnn.geometry.io.text import numbers, typed
from geocnn.geometry.io.xml import array, decoded, inflated, parsed, whole

GIFTI_TYPES = {
    **{f"NIFTI_TYPE_{name}": code for name, code in (("UINT8", "u1"), ("INT32", "i4"), ("FLOAT32", "f4"))},
    **{f"NIFTI_TYPE_INT{bits}": f"i{bits // 8}" for bits in (8, 16, 64)},
    **{f"NIFTI_TYPE_UINT{bits}": f"u{bits // 8}" for bits in (16, 32, 64)},
    "NIFTI_TYPE_FLOAT64": "f8",
}
"""The number types of the format (three by its standard, others in use), as numpy calls them."""


def read_gifti(content: bytes) -> Polygons:
    """The one POINTSET and TRIANGLE array; coordinates as stored, no transformation applied."""
    root = parsed(content, "GIFTI")
    found = list(root.iterfind("DataArray"))
    if len(found) != whole(root, "NumberOfDataArrays", str(len(found))):
        raise damaged(f"it declares {root.get('NumberOfDataArrays')} arrays and has {len(found)}")
    held: dict[str, list[np.ndarray]] = {}
    others: list[tuple[str, np.ndarray]] = []
    left_out: list[str] = []
    for element in found:
        intent = element.get("Intent", "").removeprefix("NIFTI_INTENT_")
        if intent in ("POINTSET", "TRIANGLE"):
            held.setdefault(intent, []).append(_values(element))
        elif element.get("DataType") in GIFTI_TYPES:
            others.append((_name(element, intent), _values(element)))
        else:
            left_out.append(f"array {_name(element, intent)} of {element.get('DataType')}")
    if [len(held.get(intent, [])) for intent in ("POINTSET", "TRIANGLE")] != [1, 1]:
        raise GeometryError("a surface has one POINTSET and one TRIANGLE array; give the .surf.gii file")
    (vertices,), (faces,) = held["POINTSET"], held["TRIANGLE"]
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2:
        raise damaged(
            f"points are [N, 3] and triangles [F, 3], got {list(vertices.shape)}, {list(faces.shape)}"
        )
    polygons = Polygons(vertices.astype(np.float64), np.full(len(faces), faces.shape[1]), faces.ravel())
    polygons.left_out = left_out
    for name, values in others:
        place_by_rows(polygons, name, values)
    return polygons


def _name(element: Element, intent: str) -> str:
    pairs = {
        md.findtext("Name", "").strip(): md.findtext("Value", "") for md in element.iterfind("MetaData/MD")
    }
    return (pairs.get("Name") or intent.lower()).strip().replace(" ", "_")


def _values(element: Element) -> np.ndarray:
    shape = [whole(element, f"Dim{k}") for k in range(min(whole(element, "Dimensionality"), 6))]
    kind = GIFTI_TYPES.get(element.get("DataType", ""))
    order = {"LittleEndian": "<", "BigEndian": ">"}.get(element.get("Endian", "LittleEndian"))
    if kind is None or order is None:
        raise damaged(f"an array is of {element.get('DataType')}, {element.get('Endian')}")
    size = int(np.prod(shape, dtype=object))
    text, encoding = (element.findtext("Data") or "").encode(), element.get("Encoding")
    if encoding == "ASCII":
        values = typed(numbers(text), kind)
    elif encoding == "Base64Binary":
        values = array(decoded(text), np.dtype(order + kind))
    elif encoding == "GZipBase64Binary":
        dtype = np.dtype(order + kind)
        values = array(inflated(decoded(text), size * dtype.itemsize), dtype)
    else:
        raise GeometryError(f"an array is kept as {encoding}; write the file again with its arrays inside")
    if len(values) != size:
        raise damaged(f"an array of {shape} has {len(values)} numbers")
    in_columns = element.get("ArrayIndexingOrder") == "ColumnMajorOrder"
    return values.reshape(shape, order="F" if in_columns else "C")
