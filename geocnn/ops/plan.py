"""The plan of a layer: which rows of an operator are mixed by which matrix, and where the results stand.

A layer makes its plan once. A plan has a name, which compiled and exported programs hold in its place.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from geocnn.errors import FieldTypeError
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, has_complex_structure, irrep_dim
from geocnn.groups.radial import RadialBasis
from geocnn.ops.blocks import runs_of
from geocnn.ops.mixing import Mixing
from geocnn.ops.moments import MomentBasis


@dataclass(frozen=True)
class GatherPlan:
    """How fields of one type are gathered to fields of another: by the moments of a basis or, without one, by
    the mean of transported values.

    >>> plan = mean_plan(FieldType("2x0 + 1x1")); plan.name, plan.n_out
    ('mean of 2x0 + 1x1', 4)
    >>> plan_of(plan.name) == plan
    True
    """

    source: FieldType
    target: FieldType
    basis: MomentBasis | None
    name: str = field(init=False, compare=False)
    sources: tuple[Irrep, ...] = field(init=False, compare=False)
    """The source irreps, in the order of an operator's blocks."""
    mixed: tuple[tuple[Irrep, Irrep], ...] = field(init=False, compare=False)
    """The (target, source) pair of irreps of each run."""
    runs: list[int] = field(init=False, compare=False)
    """The runs of `ops.blocks.convolve`, flattened."""
    n_out: int = field(init=False, compare=False)
    _mixings: dict[torch.dtype, list[Mixing]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        start, n_out = {}, 0
        for irrep in self.target.irreps:
            start[irrep] = n_out
            n_out += irrep_dim(irrep, self.target.group) * self.target.multiplicity(irrep)
        basis = self.basis
        sources = self.source.irreps if basis is None else basis.sources
        mixed, runs = [], []
        for i, irrep in enumerate(sources):
            own = [(irrep, irrep_dim(irrep, self.source.group), 1, 0)] if basis is None else basis.runs(irrep)
            for landing, dim, count, row in own:
                both = basis is not None and has_complex_structure(landing, self.target.group)
                runs += [i, row, dim, count, int(both), start[landing], self.target.multiplicity(landing)]
                mixed.append((landing, irrep))
        values = {"sources": tuple(sources), "mixed": tuple(mixed), "runs": runs, "n_out": n_out}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "name", _named(self))

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Return the shape [parts, K, copies] of the weights of each run."""
        return [
            (1 + run.is_complex, run.count * self.source.multiplicity(irrep), run.width)
            for run, (_, irrep) in zip(runs_of(self.runs), self.mixed, strict=True)
        ]

    @property
    def n_moments(self) -> int:
        """Return how many numbers the moments of a target are."""
        basis, copies = self.basis, self.source.multiplicity
        return 0 if basis is None else sum(basis.n_rows(s) * copies(s) for s in self.sources)

    def complex_sources(self, dtype: torch.dtype) -> list[bool]:
        """Return for each source irrep whether it is computed as complex numbers."""
        return [False] * len(self.sources) if self.basis is None else self.basis.complex_sources(dtype)

    def mixings(self, dtype: torch.dtype) -> list[Mixing]:
        """Return how the weights of each run stand in its matrix."""
        if dtype not in self._mixings:
            pairs = dict(zip(self.sources, self.complex_sources(dtype), strict=True))
            self._mixings[dtype] = [Mixing(self.basis, s, t, pairs[s]) for t, s in self.mixed]
        return self._mixings[dtype]

    def matrices(self, weights: Sequence[Tensor], conjugate: bool = False) -> list[Tensor]:
        """Return the matrix of each run from its weights; `conjugate` gives those of conjugate moments."""
        mixings = self.mixings(weights[0].dtype)
        return [m.matrix(w, conjugate) for m, w in zip(mixings, weights, strict=True)]

    def derivatives(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Return the derivatives by the weights from those by the matrices, none from none."""
        if not matrices:
            return []
        mixings, parts = self.mixings(matrices[0].dtype), [shape[0] for shape in self.shapes]
        return [m.weight(d, n) for m, d, n in zip(mixings, matrices, parts, strict=True)]

    def __reduce__(self):
        return GatherPlan, (self.source, self.target, self.basis)

    def split(self, x: Tensor) -> list[Tensor]:
        """Return x [B, N, D] as one tensor [B, N, components · C] per source irrep, or complex [B, N, C]."""
        parts = []
        for irrep, is_complex in zip(self.sources, self.complex_sources(x.dtype), strict=True):
            part = self.source.select(x, irrep)
            parts.append(torch.complex(*part.unbind(-2)) if is_complex else part.flatten(-2))
        return parts

    def joined(self, parts: list[Tensor]) -> Tensor:
        """Return the transpose of `split`, from the conjugates of complex parts; irreps that no moment reads
        get 0.
        """
        real = [torch.cat([p.real, -p.imag], -1) if p.is_complex() else p for p in parts]
        given = dict(zip(self.sources, real, strict=True))
        whole = {}
        for irrep in self.source.irreps:
            shape = irrep_dim(irrep, self.source.group), self.source.multiplicity(irrep)
            if irrep in given:
                whole[irrep] = given[irrep].unflatten(-1, shape)
            else:
                whole[irrep] = real[0].new_zeros(*real[0].shape[:-1], *shape)
        return self.source.join(whole)

    def ordered(self, y: Tensor) -> Tensor:
        """Bring output channels, which are grouped by irrep, into the target type's own order."""
        if len(self.target.irreps) == len(self.target.blocks):
            return y
        parts, start = {}, 0
        for irrep in self.target.irreps:
            shape = irrep_dim(irrep, self.target.group), self.target.multiplicity(irrep)
            parts[irrep] = y[..., start : start + shape[0] * shape[1]].unflatten(-1, shape)
            start += shape[0] * shape[1]
        return self.target.join(parts)

    def grouped(self, g: Tensor) -> Tensor:
        """Return the transpose of `ordered`."""
        if len(self.target.irreps) == len(self.target.blocks):
            return g
        return torch.cat([self.target.select(g, irrep).flatten(-2) for irrep in self.target.irreps], -1)

    def weights(self, mix: Mapping[tuple[Irrep, Irrep], Tensor]) -> list[Tensor]:
        """Return the weights of each run."""
        return [mix[pair] for pair in self.mixed]


def mean_plan(field_type: FieldType) -> GatherPlan:
    """Return the plan of `ops.gather.transported_mean`."""
    return GatherPlan(field_type, field_type, None)


_plans: dict[str, GatherPlan] = {}


def plan_of(name: str) -> GatherPlan:
    """Return the plan of that name, which another process may have given it.

    Raises FieldTypeError where the name is of no plan, and where its radial basis is of a class that this
    process has not imported.
    """
    if name not in _plans:
        _read(name)
    return _plans[name]


def _named(plan: GatherPlan) -> str:
    """Register a plan under its name, and return this."""
    if plan.basis is None:
        text = f"mean of {plan.source}"
    else:
        kind, values = type(plan.basis.radial), vars(plan.basis.radial)
        given = {f.name: values[f.name] for f in fields(plan.basis.radial)}
        place = f"{kind.__module__}.{kind.__qualname__}"
        text = f"{plan.source} -> {plan.target}, up to {plan.basis.max_frequency}, {place}{given!r}"
    name, number = text, 1
    # two classes of one name may stand in one notebook
    while _plans.get(name, plan) != plan:
        number += 1
        name = f"{text} ({number})"
    _plans.setdefault(name, plan)
    return name


def _read(name: str) -> None:
    """Make the plan of a name, which registers it."""
    try:
        if name.startswith("mean of "):
            made = mean_plan(FieldType(name.removeprefix("mean of ")))
        else:
            types, frequency, radial = name.split(", ", 2)
            source, target = map(FieldType, types.split(" -> "))
            radial = _radial(radial)
            frequency = int(frequency.removeprefix("up to "))
            made = GatherPlan(source, target, MomentBasis.between(source, target, radial, frequency))
    except (ValueError, SyntaxError) as fault:
        raise FieldTypeError(f"no plan of a layer is called {name!r} ({fault})") from fault
    if made.name != name:
        raise FieldTypeError(f"no plan of a layer is called {name!r}; the nearest is {made.name!r}")


def _radial(text: str) -> RadialBasis:
    place, brace, values = text.partition("{")
    module, _, kind = place.rpartition(".")
    # a file names the class, and only what the program has imported itself is called
    found = getattr(sys.modules.get(module), kind, None)
    if not isinstance(found, type) or not issubclass(found, RadialBasis):
        raise FieldTypeError(f"the radial basis {place} is not known here; import {module} first")
    return found(**ast.literal_eval(brace + values))
