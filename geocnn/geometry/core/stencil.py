"""Stencil: where a feature is gathered from.

For each target point the entries e in row_ptr[t]:row_ptr[t+1] name a source point, its place (r, θ) in the
target's tangent plane, a quadrature weight of dv/(πR²), and the transporter (angle, flip) from the source's
gauge to the target's. Nothing here knows which surface it came from.

`exp` stencils and batches form their entries when these are first asked for. Layers do not ask: they read
rows, and the operators of parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node

from geocnn.errors import GeometryError
from geocnn.files import write_safetensors
from geocnn.geometry.core.inputs import read_gauge
from geocnn.geometry.core.placement import Movable, mapped
from geocnn.geometry.core.polar import Polar
from geocnn.geometry.core.recognised import known_or_made, new_name, remember
from geocnn.geometry.core.rows import Rows, entries_of
from geocnn.geometry.core.shifts import Shifts
from geocnn.geometry.core.side_by_side import SideBySide, check_alike
from geocnn.groups.planar import Group, compose, group, inverse
from geocnn.lasting import keep_normal, lasting, untraced
from geocnn.wording import counted


@dataclass(frozen=True, eq=False)
class Stencil(Movable):
    """The entries by which targets gather, in rows per target (CSR), in polar coordinates with transporters.

    r is in the surface's units, theta and angle are in radians; the weights of a full disc sum to 1. flip is
    None where no transporter mirrors. `samples` is (rings, angles) of the polar grid of an `exp` stencil, and
    None where points are taken where they lie.

    >>> import geocnn.geometry as geometry
    >>> st = geometry.torus((8, 8)).stencil(radius=2.5)
    >>> st.n_target, st.n_source, round(float(st.weight.sum() / 64), 12)
    (64, 64, 1.0)
    """

    row_ptr: Int64[Tensor, " targets_and_one"]
    source: Int64[Tensor, " e"]
    r: Float[Tensor, " e"]
    theta: Float[Tensor, " e"]
    weight: Float[Tensor, " e"]
    angle: Float[Tensor, " e"]
    flip: Bool[Tensor, " e"] | None
    radius: float
    n_source: int
    group: Group
    samples: tuple[int, int] | None = None
    shifts: Shifts | None = field(default=None, init=False, repr=False, metadata={"follows": True})
    """Shifts of the surface that leave this stencil as it is; a stencil with other entries has none."""
    parts: tuple[Stencil, ...] = field(default=(), init=False, repr=False)
    """The stencils that `cat` set side by side, whose operators serve this one too; never saved."""
    operators: dict = field(default_factory=dict, init=False, repr=False)
    """Gather operators derived from this stencil, kept by `ops.operators`; never saved, and no copy inherits
    them.
    """
    stored: Polar | SideBySide | None = field(default=None, init=False, repr=False)
    """What the entries are formed of; None once they are."""
    name: str = field(default_factory=new_name, init=False, repr=False)
    """What no other stencil is called: one that comes back from another process is recognised by it."""

    def __post_init__(self) -> None:
        keep_normal(self)
        if not torch.compiler.is_compiling():
            remember(self)

    @staticmethod
    def deferred(
        stored: Polar | SideBySide,
        radius: float,
        n_source: int,
        group: Group,
        samples: tuple[int, int] | None,
    ) -> Stencil:
        """Return the stencil whose entries are formed of something when they are first asked for."""
        new = object.__new__(Stencil)
        with lasting():
            # a tensor of its own, by which it is recognised
            row_ptr = stored.target_ptr.clone()
        shifts, parts = (stored.shifts, ()) if isinstance(stored, Polar) else (None, stored.parts)
        rest = {"n_source": n_source, "group": group, "samples": samples, "operators": {}}
        own = {"row_ptr": row_ptr, "radius": radius, "shifts": shifts, "parts": parts, "stored": stored}
        own["name"] = new_name()
        for name, value in (own | rest).items():
            object.__setattr__(new, name, value)
        remember(new)
        return new

    def restored(self, stored: Polar | SideBySide) -> Stencil:
        """Return the same stencil, whose entries are formed of something else."""
        return Stencil.deferred(stored, self.radius, self.n_source, self.group, self.samples)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name not in _ENTRIES or self.__dict__.get("stored") is None:
                raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
            for column, t in self.columns().items():
                object.__setattr__(self, column, t)
            object.__setattr__(self, "stored", None)
            remember(self)
            return self.__dict__[name]

    def columns(self) -> dict[str, Tensor | None]:
        """Return the fields of all entries, without keeping those that are formed for it."""
        if self.stored is None:
            return {name: getattr(self, name) for name in _ENTRIES}
        with lasting(), untraced():
            return self.stored.columns()

    @property
    def places(self) -> tuple[Tensor | None, ...]:
        """Return the tensors that programs hand on: those of all entries, or row_ptr alone, by which the
        stencil is recognised; in exported programs those that entries are formed of (`from_places`).
        """
        if self.stored is None:
            return (*(getattr(self, name) for name in _TENSORS), None, None, None)
        if torch.compiler.is_exporting() and isinstance(self.stored, Polar):
            return self.stored.places(self.row_ptr)
        return (*(6 * (self.row_ptr,)), None, None, None, None)

    @staticmethod
    def from_places(places: Sequence[Tensor | None], radius: float, n_source: int, group: Group) -> Stencil:
        """Return a stencil of these places."""
        *own, count, _, _ = places
        if count is None:
            return Stencil(*own, radius, n_source, group)  # type: ignore[arg-type]
        return Stencil.deferred(Polar.from_places(places), radius, n_source, group, None)

    @property
    def n_target(self) -> int:
        return self.row_ptr.shape[0] - 1

    @property
    def n_entries(self) -> int:
        return self.source.shape[0] if self.stored is None else self.stored.n_entries

    @property
    def device(self) -> torch.device:
        return self.row_ptr.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of lengths, angles and weights."""
        if isinstance(self.stored, Polar):
            return self.stored.weight.dtype
        return self.parts[0].dtype if self.stored is not None else self.weight.dtype

    @property
    def target(self) -> Int64[Tensor, " e"]:
        """Return the target of each entry."""
        counts = self.row_ptr.diff()
        return torch.repeat_interleave(torch.arange(self.n_target, device=self.device), counts)

    @property
    def n_rows(self) -> int:
        """Return the number of rows that differ by more than a shift of the surface."""
        return self.n_target if self.shifts is None else len(self.shifts.target)

    def rows(self, which: slice | Int64[Tensor, " k"]) -> Rows:
        """Return some of the rows that differ by more than a shift: ascending numbers below `n_rows`."""
        if isinstance(self.stored, Polar):
            return self.stored.rows(which)
        if self.shifts is not None:
            which = self.shifts.target.flatten(1)[:, 0].to(self.device)[which]
        entry, counts = entries_of(self.row_ptr, which)
        row = torch.arange(len(counts), device=self.device).repeat_interleave(counts)
        own = (None if (t := getattr(self, name)) is None else t[entry] for name in Rows._fields[2:])
        return Rows(len(counts), row, *own)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        size = f"{self.n_source} -> {counted(self.n_target, 'point')}, {counted(self.n_entries, 'entry')}"
        return f"Stencil({size}, radius {self.radius:.4g}, {self.group}, {self.dtype}, {self.device})"

    def __deepcopy__(self, memo: dict) -> Stencil:
        return mapped(self, Tensor.clone)

    def __reduce__(self):
        stored = SideBySide(self.parts) if self.parts else self.stored
        entries = None if stored is not None else tuple(getattr(self, name) for name in _TENSORS)
        rest = self.radius, self.n_source, self.group, self.samples
        return _received, (self.name, stored, entries, rest, self.shifts)

    def with_shifts(self, shifts: Shifts | None) -> Stencil:
        """Return the same stencil, which these shifts of its surface leave as it is."""
        new = replace(self)
        object.__setattr__(new, "shifts", shifts)
        return new

    def turn_frames(
        self,
        alpha: ArrayLike | Tensor,
        flip: ArrayLike | Tensor | None = None,
        target_alpha: ArrayLike | Tensor | None = None,
        target_flip: ArrayLike | Tensor | None = None,
    ) -> Stencil:
        """Return the same stencil, its frames turned by alpha [n_source] radians, then mirrored where `flip`.

        Within one point set sources and targets turn together. Between two sets give the targets' own
        `target_alpha` [n_target] (and `target_flip`). Law: θ' = θ − α_t, angle' = angle + α_s − α_t.

        Raises GeometryError when the lengths do not fit, or when targets that are not the sources lack their
        angles.
        """
        if target_alpha is None:
            if self.n_source != self.n_target:
                raise GeometryError(
                    f"this stencil goes from {self.n_source} to {counted(self.n_target, 'point')}: "
                    "give target_alpha as well"
                )
            target_alpha, target_flip = alpha, flip
        alpha, flip, turned_s = read_gauge("source", self.n_source, alpha, flip, self.r)
        target_alpha, target_flip, turned_t = read_gauge(
            "target", self.n_target, target_alpha, target_flip, self.r
        )
        t, s = self.target, self.source
        change_t, change_s = gauge_change(target_alpha, target_flip), gauge_change(alpha, flip)
        at_t = (change_t[0][t], None if change_t[1] is None else change_t[1][t])
        at_s = (change_s[0][s], None if change_s[1] is None else change_s[1][s])
        angle, flipped = compose(at_t, compose((self.angle, self.flip), inverse(at_s)))
        theta, _ = compose(at_t, (self.theta, None))
        group = self.group.join(turned_s).join(turned_t)
        return replace(self, theta=theta, angle=angle, flip=flipped, group=group)

    @staticmethod
    def cat(stencils: Sequence[Stencil]) -> Stencil:
        """Return one stencil for several surfaces side by side; the points of each come after the last one's.

        One stencil alone is returned itself. `samples` are the fewest rings and the fewest angles among them,
        which is what bounds a layer's frequency. Operators are made and kept for each of the stencils, and
        serve every batch that it is part of. Raises GeometryError for an empty list, and for different radii,
        dtypes or devices.
        """
        if not stencils:
            raise GeometryError("nothing to concatenate: give at least one stencil")
        for s in stencils:
            if not isinstance(s, Stencil):
                raise GeometryError(f"only stencils can be concatenated, got a {type(s).__name__}")
        radii = {s.radius for s in stencils}
        if len(radii) > 1:
            raise GeometryError(
                f"stencils of different radii {sorted(radii)} cannot share a layer's kernel; "
                "give the same radius to all (and scale the surfaces to one size first)"
            )
        check_alike([s.dtype for s in stencils], "convert them by .float() or .double()")
        check_alike([s.device for s in stencils], "move them by .to(device)")
        if len(stencils) == 1:
            return stencils[0]
        joined = stencils[0].group
        for s in stencils[1:]:
            joined = joined.join(s.group)
        samples = [s.samples for s in stencils if s.samples is not None]
        fewest = (min(r for r, _ in samples), min(a for _, a in samples)) if samples else None
        parts = SideBySide(tuple(part for s in stencils for part in s.parts or (s,)))
        return Stencil.deferred(parts, radii.pop(), sum(s.n_source for s in stencils), joined, fewest)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, for saving."""
        if isinstance(self.stored, Polar):
            tensors = {f"{STORED}{name}": t for name, t in self.stored.tensors().items()}
        else:
            tensors = {name: t for name in _TENSORS if (t := getattr(self, name)) is not None}
        if self.shifts is not None:
            tensors |= {"shifts.target": self.shifts.target, "shifts.source": self.shifts.source}
        return tensors

    def metadata(self) -> dict[str, object]:
        """Return everything else, as values that JSON can hold."""
        return {
            "radius": self.radius,
            "n_source": self.n_source,
            "group": str(self.group),
            "samples": self.samples,
        }

    @staticmethod
    def from_parts(tensors: dict[str, Tensor], metadata: dict) -> Stencil:
        """Return the stencil of these `tensors` and `metadata`."""
        rest = {name: metadata[name] for name in ("radius", "n_source")}
        rest |= {"group": group(metadata["group"]), "samples": _pair(metadata["samples"])}
        shifts = None
        if "shifts.target" in tensors:
            shifts = Shifts(tensors["shifts.target"], tensors["shifts.source"])
        stored = {k.removeprefix(STORED): t for k, t in tensors.items() if k.startswith(STORED)}
        if stored:
            return Stencil.deferred(Polar(**{"flip": None, **stored}, shifts=shifts), **rest)
        stencil = Stencil(*(tensors.get(name) for name in _TENSORS), **rest)  # type: ignore[arg-type]
        return stencil if shifts is None else stencil.with_shifts(shifts)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file (no pickle), whole or not at all."""
        save_tensors(path, self.tensors(), {"stencil": self.metadata()})

    @staticmethod
    def load(path: str | Path) -> Stencil:
        """Read what `save` wrote. Raises GeometryError when the file is truncated or holds no stencil."""
        tensors, metadata = load_tensors(path, "stencil")
        return Stencil.from_parts(tensors, metadata)


_ENTRIES = ("source", "r", "theta", "weight", "angle", "flip")
_TENSORS = ("row_ptr", *_ENTRIES)

STORED = "polar."
"""The names of tensors in files begin thus where entries are not formed."""


def _pair(samples: Sequence[int] | None) -> tuple[int, int] | None:
    return None if samples is None else (samples[0], samples[1])


def gauge_change(
    alpha: Float[Tensor, "*k"], flip: Bool[Tensor, "*k"] | None
) -> tuple[Float[Tensor, "*k"], Bool[Tensor, "*k"] | None]:
    """Return the element by which components change when frames are turned by alpha, then mirrored (e₂ ↦ −e₂)
    where `flip`:

    z ↦ e^{−iα} z, then z̄ where flipped, that is z ↦ e^{iα} z̄.
    """
    return (-alpha, None) if flip is None else (torch.where(flip, alpha, -alpha), flip)


def save_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict) -> None:
    """Write a safetensors file, whole or not at all."""
    stored = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_safetensors(stored, path, {"geocnn": json.dumps(metadata)})


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors and metadata of a file that `save_tensors` wrote.

    Raises GeometryError where the file is damaged or holds another kind of value.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as f:
            metadata = json.loads((f.metadata() or {}).get("geocnn", "{}"))
            tensors = {name: f.get_tensor(name) for name in f.keys()}
    except SafetensorError as broken:
        raise GeometryError(
            f"{path} is not a whole safetensors file ({broken}); write it again with save()"
        ) from broken
    if kind not in metadata:
        kinds = ", ".join(metadata) or "no geocnn value"
        raise GeometryError(f"{path} holds {kinds}, not a {kind}")
    return tensors, metadata[kind]


def _received(name: str, stored: Polar | SideBySide | None, entries: tuple, rest: tuple, shifts) -> Stencil:
    """Return the stencil that `__reduce__` took apart."""
    make = partial(Stencil, *entries) if stored is None else partial(Stencil.deferred, stored)
    return known_or_made(name, partial(make, *rest), shifts)


def _taken_apart(s: Stencil) -> tuple[list, tuple]:
    return [*(getattr(s, name) for name in _TENSORS), s.n_source], (s.radius, str(s.group), s.samples)


def _put_together(parts: Iterable, context: tuple) -> Stencil:
    (*tensors, n_source), (radius, name, samples) = parts, context
    rest = {"radius": radius, "n_source": n_source, "group": group(name)}
    return Stencil(*tensors, samples=_pair(samples), **rest)


def _with_keys(s: Stencil) -> tuple[list, tuple]:
    parts, context = _taken_apart(s)
    return [
        (GetAttrKey(name), part) for name, part in zip((*_TENSORS, "n_source"), parts, strict=True)
    ], context


register_pytree_node(
    Stencil,
    _taken_apart,
    _put_together,
    flatten_with_keys_fn=_with_keys,
    serialized_type_name="geocnn.Stencil",
    to_dumpable_context=list,
    from_dumpable_context=lambda c: (c[0], c[1], _pair(c[2])),
)

# a saved program holds its example inputs, which torch reads only if told that this is safe
torch.serialization.add_safe_globals([Stencil, Stencil.deferred, _received, Polar, SideBySide, Shifts, Group])
