"""Print and write the results of `geocnn inspect` and `geocnn cache`, which geometry computes."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocnn.errors import GeocnnError
from geocnn.files import replacing
from geocnn.geometry.cache import Entry, cache_entries, cache_folder, clear_cache
from geocnn.geometry.cache_room import LIMIT_VARIABLE, cache_limit
from geocnn.geometry.diagnosis import SINGLE_PRECISION, Diagnosis, diagnose
from geocnn.geometry.doctor.repairs import REPAIRS, Plan, RepairReport, plan, repair
from geocnn.geometry.doctor.verdict import mending
from geocnn.geometry.io import RawMesh, read_mesh, write_mesh
from geocnn.geometry.loops.holonomy_groups import HolonomyGroup
from geocnn.wording import counted, sized

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.nn.costs import ModuleCost


def inspect_file(
    file: Path,
    out: Path | None,
    fixes: Sequence[str],
    picture: Path | None,
    as_json: bool,
    console: Console,
) -> bool:
    """Diagnose a file, and repair it into `out` if that is given; return whether the result is a surface.

    This writes `out`, a .repair.json with the changes and maps beside it, and the picture. Raises GeocnnError
    where a file cannot be read or written.
    """
    _check_options(file, out, fixes, picture)
    raw = read_mesh(file)
    results: dict[str, Any] = {"file": str(file), **_attributes(raw)}
    diagnosis = diagnose(raw)
    results["diagnosis"] = diagnosis.to_dict() | {"layer": _layer_dict(diagnosis)}
    if not as_json:
        _print(file.name, raw, diagnosis, console)
    if out is not None:
        raw, report = repair(raw, fixes)
        results["repair"] = _write(file, out, raw, report)
        raw = read_mesh(out)
        diagnosis = diagnose(raw)
        results["repair"]["diagnosis"] = diagnosis.to_dict() | {"layer": _layer_dict(diagnosis)}
        if not as_json:
            _print_repair(out, results["repair"], raw, diagnosis, console)
    if picture is not None:
        from geocnn.viz.inspection import inspection

        inspection(raw, diagnosis, (out or file).name).savefig(picture, dpi=150)
        results["picture"] = str(picture)
        if not as_json:
            console.print(f"wrote {picture}", soft_wrap=True)
    advice = Plan([], []) if diagnosis.usable else plan(raw)
    results["plan"] = {"repairs": advice.repairs, "left": [defect.kind for defect in advice.left]}
    if as_json:
        print(json.dumps(results))
    else:
        _print_advice(out or file, advice, console)
    return diagnosis.usable


def layer_cost(diagnosis: Diagnosis) -> ModuleCost | None:
    """Return what a GaugeConv from 16x0 + 8x1 to itself needs, with a `log` stencil of the suggested radius.

    The result is None where the mesh is no surface.

    >>> from geocnn.geometry import icosphere
    >>> sphere = icosphere(2)
    >>> needed = layer_cost(diagnose(sphere.points, sphere.grid.solid.faces[-1]))
    >>> needed.first_step > needed.step > 0
    True
    """
    if diagnosis.surface is None or diagnosis.radius is None:
        return None
    from geocnn.nn.costs import cost
    from geocnn.nn.gauge_conv import GaugeConv

    field_type = _layer_type(diagnosis)
    return cost(GaugeConv(field_type, field_type), diagnosis.surface, radius=diagnosis.radius, kind="log")


def _layer_type(d: Diagnosis) -> str:
    """Return the field type of the layer whose cost is told: on one side `1` has no sense, so O(2)."""
    one_sided = d.surface is not None and d.surface.group.flips
    return "O2: 16x0e + 8x1" if one_sided else "16x0 + 8x1"


def show_cache(clear: bool, console: Console) -> None:
    """List the content of the cache folder by state, after removing the cache's own files if `clear`."""
    from rich.table import Table

    removed = clear_cache() if clear else []
    entries = cache_entries()
    console.print(
        f"the cache is {cache_folder()}; it keeps at most {sized(cache_limit(cache_folder()))} "
        f"({LIMIT_VARIABLE}), and drops what was unused for longest",
        soft_wrap=True,
    )
    if clear:
        console.print(f"removed {counted(len(removed), 'file')}, {sized(_total(removed))}")
    table = Table("state", "files", "size")
    for state in dict.fromkeys(entry.state for entry in entries):
        group = [entry for entry in entries if entry.state == state]
        table.add_row(state, str(len(group)), sized(_total(group)))
    console.print(table if entries else "it is empty")
    odd = [entry for entry in entries if entry.state != "whole"]
    for entry in odd[:20]:
        console.print(f"{entry.state}: {entry.path}", soft_wrap=True)
    if len(odd) > 20:
        console.print(f"and {len(odd) - 20} more")
    if any(entry.state != "foreign" for entry in odd):
        console.print("only whole files are ever read; geocnn cache --clear removes all but foreign ones")


def _check_options(file: Path, out: Path | None, fixes: Sequence[str], picture: Path | None) -> None:
    """Refuse bad options before anything is read or written."""
    unknown = [name for name in fixes if name not in REPAIRS]
    if unknown:
        raise GeocnnError(f"there is no repair '{unknown[0]}'; --fix takes one of {', '.join(REPAIRS)}")
    if fixes and out is None:
        raise GeocnnError("--fix needs --repair NEW, the file that the mended mesh is written to")
    if out is not None and out.resolve() == file.resolve():
        raise GeocnnError(f"--repair {out} would overwrite the file itself; name another one")
    if out is not None and _is_foreign(_map_of(out)):
        raise GeocnnError(
            f"no repair wrote {_map_of(out)}, where the maps would go; name another file than {out}"
        )
    if picture is not None:
        if picture.suffix.lower() != ".png" or not picture.parent.is_dir():
            raise GeocnnError(
                f"cannot draw {picture}: give a name that ends in .png, in a folder that exists"
            )
        if importlib.util.find_spec("matplotlib") is None:
            raise GeocnnError("the picture needs matplotlib: pip install 'geocnn[plot]'")


def _attributes(raw: RawMesh) -> dict[str, Any]:
    """Return the names of a mesh's attributes, and the polygon of each triangle, where there are any."""
    many = len(raw.face_map) and len(raw.face_map.unique()) < len(raw.face_map)
    return {
        "vertex_attributes": list(raw.vertex_attributes),
        "face_attributes": list(raw.face_attributes),
        "corner_attributes": list(raw.corner_attributes),
        "left_out": list(raw.left_out),
        **({"face_map": raw.face_map.tolist()} if many else {}),
    }


def _write(file: Path, out: Path, raw: RawMesh, report: RepairReport) -> dict[str, Any]:
    left_out = write_mesh(out, raw)
    map_file = _map_of(out)
    record = {"from": str(file), "to": str(out), "left_out": left_out, **report.to_dict()}
    with replacing(map_file) as new:
        new.write_text(json.dumps(record), encoding="utf-8")
    return {"to": str(out), "map": str(map_file), "left_out": left_out, "changes": record["changes"]}


def _map_of(out: Path) -> Path:
    """Return the file for a repair's changes and maps."""
    return out.with_suffix(".repair.json")


def _is_foreign(file: Path) -> bool:
    """Return whether the file exists and no repair wrote it."""
    if not file.exists():
        return False
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return not (isinstance(content, dict) and "vertex_map" in content)


# ------------------------------------------------------------------------------------------------- printing


def _print(name: str, raw: RawMesh, d: Diagnosis, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("mesh", name, title_justify="left")
    for what, value in _facts(raw, d):
        table.add_row(what, value)
    console.print(table)
    if not d.defects:
        console.print("no defects", style="green")
        return
    table = Table("defect", "what", "what to do")
    for defect in d.defects:
        colour = "red" if defect.about.fatal else "yellow"
        table.add_row(Text(defect.kind, colour), defect.what, defect.remedy)
    console.print(table)


def _facts(raw: RawMesh, d: Diagnosis) -> list[tuple[str, str]]:
    size = map(counted, (d.n_vertices, d.n_edges, d.n_faces), ("vertex", "edge", "triangle"))
    facts = [("size", ", ".join(size)), *_topology(d)]
    if d.total_curvature is not None and d.residual is not None:
        noise = abs(d.residual)
        total = _rounded(d.total_curvature, noise)
        facts.append(("curvature", f"{total:.6g} in all, 2π·{d.euler} to within {noise:.0e} (Gauss–Bonnet)"))
    if d.holonomy is not None:
        facts.append(("holonomy", _describe(d.holonomy)))
    if d.edge_lengths and d.smallest_angles:
        low, _, middle, _, high = d.edge_lengths
        facts.append(("edges", f"{low:.4g} to {high:.4g}, median {middle:.4g}"))
        low, few, middle, *_ = d.smallest_angles
        facts.append(("smallest angles", f"{low:.3g}° at worst, 5 % below {few:.3g}°, median {middle:.3g}°"))
    if d.radius is not None:
        facts.append(("area", f"{d.area:.6g}, spacing of the vertices {d.spacing:.4g}"))
        facts.append(("stencil radius", f"{d.radius:.4g} suggested, 2.5 spacings"))
    for cost in d.costs:
        facts.append((f"{cost.kind} stencil", str(cost)))
    needed = layer_cost(d)
    if needed is not None:
        facts.append(("a layer", _describe_layer(needed, _layer_type(d))))
    attributes = [*raw.vertex_attributes, *raw.face_attributes, *raw.corner_attributes]
    if attributes:
        facts.append(("attributes", ", ".join(attributes)))
    if raw.left_out:
        facts.append(("not read", ", ".join(raw.left_out)))
    return facts


def _describe_layer(needed: ModuleCost, field_type: str) -> str:
    needed = needed.resident
    return (
        f"{field_type} to itself, log: {sized(needed.first_step)} for the first forward and backward, then "
        f"{sized(needed.step_kept)} kept and {sized(needed.step)} in each later one"
    )


def _layer_dict(d: Diagnosis) -> dict[str, Any] | None:
    """Return the layer's cost as numbers, in bytes of resident memory and operations."""
    needed = layer_cost(d)
    return None if needed is None else vars(needed.resident) | {"type": _layer_type(d)}


def _topology(d: Diagnosis) -> list[tuple[str, str]]:
    """Return what there is to say of the sound faces as a whole: nothing where there are none."""
    if d.n_used == 0:
        return []
    handles = [str(g) for g in d.genus[:8] if g is not None] + ["…"] * (len(d.genus) > 8)
    sides = "two sides" if d.orientable else "one side somewhere: genus counts cross-caps there"
    wound = "wound alike" if d.consistently_wound else "not wound alike"
    return [
        ("components", str(d.components)),
        ("boundary", f"{counted(d.boundary_loops, 'loop')}, {counted(d.boundary_edges, 'edge')}"),
        ("topology", f"Euler characteristic {d.euler}, genus {', '.join(handles) or 'unknown'}"),
        ("orientation", f"{sides}, {wound}"),
    ]


def _describe(holonomy: HolonomyGroup) -> str:
    """Describe the group, and what the loops that prove it do to a frame."""
    degrees = [_rounded(angle, math.degrees(SINGLE_PRECISION)) for angle in holonomy.angle.rad2deg().tolist()]
    turns = [
        f"is mirrored at {angle / 2:.4g}°" if flip else f"turns by {abs(angle):.4g}°"
        for angle, flip in zip(degrees, holonomy.to_dict()["flips"], strict=True)
    ]
    if not turns:
        return f"{holonomy.group}: every loop brings frames back"
    return f"{holonomy.group}: a frame around one loop {', around another '.join(turns)}"


def _rounded(value: float, noise: float) -> float:
    """Return 0 for a value that differs from it by no more than rounding."""
    return 0.0 if abs(value) <= noise else value


def _print_repair(out: Path, written: dict[str, Any], raw: RawMesh, d: Diagnosis, console: Console) -> None:
    for change in written["changes"]:
        console.print(f"{change['repair']}: {change['what']}", soft_wrap=True)
    if written["left_out"]:
        console.print(
            f"left out, for {out.suffix} files cannot hold them: {', '.join(written['left_out'])}",
            soft_wrap=True,
        )
    console.print(
        f"wrote {out}; the new id of every vertex and face is in {written['map']}",
        soft_wrap=True,
    )
    _print(out.name, raw, d, console)


def _print_advice(file: Path, advice: Plan, console: Console) -> None:
    """Print the repairs that make the mesh a surface, or why none does."""
    repairs, left = advice
    if left:
        console.print(f"no repair makes it a surface: {left[0].what}; {left[0].remedy}", soft_wrap=True)
    if repairs:
        rest = "the rest of " if left else ""
        console.print(f"to mend {rest}it: {mending(file, repairs)}", soft_wrap=True)


def _total(entries: Sequence[Entry]) -> int:
    return sum(entry.size for entry in entries)
