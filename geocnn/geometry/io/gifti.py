"""nibabel reads and writes GIFTI, .gii: surfaces, and values of vertices."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from geocnn.errors import GeometryError
from geocnn.geometry.io.libraries import library, reading_with
from geocnn.geometry.io.raw import Attributes, Polygons, RawMesh, damaged, place_by_rows
from geocnn.geometry.io.tables import as_columns
from geocnn.geometry.io.values import VertexValues, with_every_label
from geocnn.geometry.io.xml import decoded, inflated, parsed, whole

TYPES = {"u1": "UINT8", "i4": "INT32", "f4": "FLOAT32", "f8": "FLOAT64"}
"""The number types in written files: the three of the standard, and float64, which nibabel reads too."""


def read_gifti(content: bytes, path: Path) -> Polygons:
    """Read the one POINTSET and TRIANGLE array; coordinates stay as stored, without a transformation."""
    points, triangles, others = _arrays(content, path)
    if [len(points), len(triangles)] != [1, 1]:
        raise GeometryError(
            "a surface has one POINTSET and one TRIANGLE array; give the .surf.gii file. Files of values "
            "(.func.gii, .shape.gii, .label.gii) are read by geocnn.geometry.read_vertex_values"
        )
    vertices, faces = points[0].data, triangles[0].data
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2:
        raise damaged(
            f"points are [N, 3] and triangles [F, 3], got {list(vertices.shape)}, {list(faces.shape)}"
        )
    polygons = Polygons(vertices.astype(np.float64), np.full(len(faces), faces.shape[1]), faces.ravel())
    moves = points[0].coordsys is not None and not np.array_equal(points[0].coordsys.xform, np.eye(4))
    polygons.left_out += ["a transformation to other coordinates"] if moves else []
    for name, array in others.items():
        if array.dtype.kind in "iuf":
            place_by_rows(polygons, name, array)
        else:
            polygons.left_out.append(f"array {name} of {array.dtype}")
    return polygons


def gifti_values(content: bytes, path: Path) -> VertexValues:
    """Read the arrays other than a surface's own, and the names and colours of labels."""
    image = _image(content, path)
    labels = image.labeltable.labels if image.labeltable is not None else []
    names = {int(label.key): label.label or "" for label in labels}
    shades = {int(label.key): (label.red, label.green, label.blue, label.alpha) for label in labels}
    whole = {key: shade for key, shade in shades.items() if None not in shade[:3]}
    colours = {key: (r, g, b, 1.0 if a is None else a) for key, (r, g, b, a) in whole.items()}
    return VertexValues(_others(image), names, colours)


def gifti_value_bytes(values: VertexValues, path: Path) -> bytes:
    """Return the file: an array per column, as other programs expect; of .label.gii files a table of labels.

    Raises GeometryError for numbers that the format cannot hold, and for labels that are not whole numbers.
    """
    gifti = library("nibabel.gifti")
    image, end = gifti.GiftiImage(), "".join(path.suffixes[-2:]).lower()
    columns = {name: _narrow(column) for name, column in as_columns(values.values).items()}
    intent = {".label.gii": "LABEL", ".shape.gii": "SHAPE"}.get(end, "NONE")
    if intent == "LABEL":
        columns = {name: _labels(name, column) for name, column in columns.items()}
        image.labeltable = _label_table(gifti, values, np.concatenate([*columns.values()]))
    for name, column in columns.items():
        if column.dtype.str[1:] not in TYPES:
            raise GeometryError(
                f"values '{name}' of {column.dtype}: a .gii file holds integers of up to 32 bits"
            )
        image.add_gifti_data_array(_array(gifti, column, intent, {"Name": name}))
    return image.to_bytes(mode="force")


def _labels(name: str, column: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    labels = column.astype(np.int32)
    if not np.array_equal(labels, column):
        raise GeometryError(
            f"values '{name}' of {column.dtype} are no labels, whole numbers of up to 32 bits; .func.gii and "
            ".shape.gii files hold them"
        )
    return labels


def _label_table(gifti: Any, values: VertexValues, labels: Int[np.ndarray, " k"]) -> Any:
    table, (names, colours) = gifti.GiftiLabelTable(), with_every_label(values, labels)
    for key, name in names.items():
        label = gifti.GiftiLabel(key, *colours[key])
        label.label = name
        table.labels.append(label)
    return table


def gifti_bytes(raw: RawMesh) -> tuple[bytes, list[str]]:
    """Return the file, and the attributes it cannot hold: of faces, of corners, integers beyond 32 bits.

    Coordinates are float32, as in the standard, where that is exact, else float64.
    """
    gifti = library("nibabel.gifti")
    image, left_out = gifti.GiftiImage(), [*raw.face_attributes, *raw.corner_attributes]
    columns = {"POINTSET": _narrow(raw.vertices.numpy()), "TRIANGLE": raw.faces.numpy().astype(np.int32)}
    for intent, values in columns.items():
        image.add_gifti_data_array(_array(gifti, values, intent, {}))
    for name, values in raw.vertex_attributes.items():
        column = _narrow(values)
        if column.dtype.str[1:] in TYPES and column.size:
            image.add_gifti_data_array(_array(gifti, column, "NONE", {"Name": name}))
        else:
            left_out.append(name)
    return image.to_bytes(mode="force"), left_out


def _array(gifti: Any, values: np.ndarray, intent: str, meta: dict[str, str]) -> Any:
    kind = f"NIFTI_TYPE_{TYPES[values.dtype.str[1:]]}"
    return gifti.GiftiDataArray(values, f"NIFTI_INTENT_{intent}", kind, meta=gifti.GiftiMetaData(meta))


def _narrow(values: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Return the same numbers in a type of the format; unchanged where none holds them exactly."""
    kinds = {"f": ("f4", "f8"), "b": ("u1",)}.get(values.dtype.kind, ("i4", values.dtype.str[1:]))
    for kind in kinds:
        with np.errstate(over="ignore"):
            column = values.astype(kind)
        if np.array_equal(column, values, equal_nan=kind[0] == "f"):
            return column
    return values


def _arrays(content: bytes, path: Path) -> tuple[list[Any], list[Any], Attributes]:
    image = _image(content, path)
    points = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
    return points, image.get_arrays_from_intent("NIFTI_INTENT_TRIANGLE"), _others(image)


def _image(content: bytes, path: Path) -> Any:
    gifti = library("nibabel.gifti")
    with reading_with("nibabel"):
        _refuse_lies(content)
        stream = BytesIO(content)
        stream.name = str(path)  # arrays may lie in separate files beside it
        parser = gifti.GiftiImage.parser(mmap=False)
        parser.parse(fptr=stream)
        if any(array.data is None for array in parser.img.darrays):
            raise damaged("an array has no numbers")
        return parser.img


def _refuse_lies(content: bytes) -> None:
    """Check what nibabel trusts: the number of arrays, complete base64, and the length of inflated data."""
    util, nifti = library("nibabel.gifti.util"), library("nibabel.nifti1")
    root = parsed(content, "GIFTI")
    arrays = list(root.iterfind("DataArray"))
    if len(arrays) != whole(root, "NumberOfDataArrays", str(len(arrays))):
        raise damaged(f"it declares {root.get('NumberOfDataArrays')} arrays and has {len(arrays)}")
    for element in arrays:
        encoding = util.gifti_encoding_codes.label[element.get("Encoding", "")]
        if encoding in ("B64BIN", "B64GZ"):
            data = decoded((element.findtext("Data") or "").encode())
            shape = [whole(element, f"Dim{k}") for k in range(min(whole(element, "Dimensionality"), 6))]
            dtype = np.dtype(nifti.data_type_codes.dtype[element.get("DataType", "")])
            if encoding == "B64GZ":
                inflated(data, int(np.prod(shape, dtype=object)) * dtype.itemsize)


def _others(image: Any) -> Attributes:
    """Return arrays by name, numbered where several have the same name."""
    nifti = library("nibabel.nifti1")
    named: list[tuple[str, np.ndarray]] = []
    for array in image.darrays:
        intent = nifti.intent_codes.niistring[array.intent].removeprefix("NIFTI_INTENT_")
        if intent not in ("POINTSET", "TRIANGLE"):
            name = (array.meta.get("Name") or intent.lower()).strip().replace(" ", "_")
            named.append((name, array.data))
    total, number = Counter(name for name, _ in named), Counter()
    arrays: Attributes = {}
    for name, values in named:
        arrays[f"{name}_{number[name]}" if total[name] > 1 else name] = values
        number[name] += 1
    return arrays
