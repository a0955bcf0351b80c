"""Values of vertices that lie in a file of their own, beside the mesh."""

from __future__ import annotations

from dataclasses import dataclass

from geocnn.geometry.io.raw import Attributes


@dataclass(frozen=True, eq=False)
class VertexValues:
    """Values [N, …] by name, a row per vertex, and what the numbers of labels are called."""

    values: Attributes
    names: dict[int, str]

    def __repr__(self) -> str:
        held = ", ".join(f"{name} {list(array.shape)}" for name, array in self.values.items())
        return f"VertexValues({held})"
