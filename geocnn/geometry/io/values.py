"""VertexValues are values of vertices from a separate file beside the mesh."""

from __future__ import annotations

from dataclasses import dataclass

from geocnn.geometry.io.raw import Attributes


@dataclass(frozen=True, eq=False)
class VertexValues:
    """Values [N, …] by name, one row per vertex, and the names of labels by number."""

    values: Attributes
    names: dict[int, str]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in self.values.items())
        return f"VertexValues({shapes})"
