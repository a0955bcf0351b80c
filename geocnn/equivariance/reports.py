"""report(model, surface): the errors of a model under the symmetries that it should have."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geocnn.equivariance.errors import relative
from geocnn.equivariance.findings import EXACT, Finding, Report
from geocnn.equivariance.grids import Where, transform_grid
from geocnn.equivariance.layers import run
from geocnn.equivariance.measuring import find, first_weight
from geocnn.equivariance.symmetries import SYMMETRIES, as_picture
from geocnn.equivariance.trials import Setup
from geocnn.errors import FieldTypeError, GeocnnError, GeometryError
from geocnn.geometry.core.defaults import default_radius
from geocnn.geometry.core.surface import Surface
from geocnn.groups.field_type import FieldType
from geocnn.harmonics.grid import RingGrid
from geocnn.nn.dropout import FieldDropout
from geocnn.nn.harmonic import HarmonicBlock, HarmonicEncoder, HarmonicUNet
from geocnn.nn.models import SurfaceEncoder, SurfaceUNet
from geocnn.nn.so3_correlation import SO3Correlation

if TYPE_CHECKING:
    from rich.console import Console


def report(
    model: nn.Module | Callable[..., Tensor],
    surface: Surface,
    build: Callable[[Surface], Where] | None = None,
    in_type: FieldType | str | None = None,
    out_type: FieldType | str | None = None,
    symmetries: Sequence[str] | None = None,
    refinements: int = 1,
    seed: int = 0,
    console: Console | None = None,
) -> Report:
    """Measure a model under the symmetries of a surface, in float64 and in the model's own number format.

    Args:
        model: called as model(x, where), or with a field alone: on flat surfaces as a picture [B, C, h, w],
            elsewhere [B, N, C]. A module is copied and not compiled. It is measured in evaluation mode and,
            if it answers differently there, in training mode, where norms use the moments of their input and
            dropout is left out.
        surface: the surface that the model works on, as fine as it will be used.
        build: makes the stencil or hierarchy, of the same radius on every grid, or the grids of harmonic
            layers. The default for a model with levels is a hierarchy with as many, and for other models a
            stencil, of radius 2.5 spacings of `surface`; for a harmonic model it is the surface's grid, and
            coarser ones for further widths.
        in_type, out_type: field types, by default the model's own; with out_type None, the answer belongs to
            no point.
        symmetries: names from `SYMMETRIES`, all by default.
        refinements: number of finer grids to try. Each has a sixteen times larger stencil.
        seed: random seed for fields, frames, numbers and rotations.
        console: a terminal on which to show the symmetry being measured.

    Raises:
        FieldTypeError: the model has no in_type and none is given, or its answer is a field and it has no
            out_type.
        GeocnnError: `surface` is no surface; a symmetry's name is unknown; the answer is zero everywhere, not
            finite, not one tensor or different each time; or the model cannot run on finer grids.

    >>> from geocnn.geometry import healpix
    >>> from geocnn.nn import GaugeConv
    >>> measured = report(GaugeConv("1x0", "1x0 + 1x1"), healpix(8), symmetries=["gauge", "rotation"])
    >>> [f.model.verdict for f in measured.findings]
    ['exact', 'converging']
    """
    names = _checked(symmetries)
    # a compiled module's layers can be observed only in the module that was compiled
    model = getattr(model, "_orig_mod", model)
    if not isinstance(surface, Surface):
        raise GeocnnError(
            f"a report is made on a surface, got a {type(surface).__name__}; `build` makes stencils and "
            "hierarchies of it, as in report(model, healpix(8), lambda s: s.stencil(0.4))"
        )
    in_type = _type_of(model, "in_type", in_type)
    if in_type is None:
        raise FieldTypeError(
            "the model has no in_type; give one, as in_type='3x0' for three scalars, or 'trivial: 3x0' for "
            "three channels of a CNN that should commute with shifts but not with turns"
        )
    out_type = _type_of(model, "out_type", out_type)
    build = _default_build(model, surface) if build is None else build
    setup = _setup(surface, build, in_type, seed)
    double, own, dtype = _copies(model)
    _check_answer(double, setup, out_type)
    training, untrained = _in_training(double, setup)
    setups, left_out = [setup], []
    for _ in range(refinements if setup.has_smooth else 0):
        setups.append(setups[-1].finer)
    findings = []
    for name in _with_status(names, console):
        finding = find(name, double, own, training, setups, out_type)
        if finding is None:
            left_out.append(name)
        else:
            findings.append(finding)
    return Report(
        model=type(model).__name__ if isinstance(model, nn.Module) else "function",
        surface=repr(surface),
        points=[s.surface.n_points for s in setups],
        spacings=[s.surface.spacing for s in setups],
        dtype=str(dtype).removeprefix("torch."),
        findings=findings,
        left_out=left_out,
        untrained=untrained,
    )


def assert_equivariant(
    model: nn.Module | Callable[..., Tensor], surface: Surface, *, within: float = math.inf, **options: Any
) -> Report:
    """Measure a model by `report` in a test suite, with the options of `report`, and return the report.

    Raises AssertionError where a symmetry is broken, naming the layer that breaks it; where an error on the
    surface's own grid is more than `within`; and where a requested symmetry cannot be measured.

    >>> from geocnn.geometry import torus
    >>> from geocnn.nn import GaugeConv
    >>> _ = assert_equivariant(GaugeConv("1x0", "1x1"), torus((8, 8)), within=0.1)
    """
    measured = report(model, surface, **options)
    faults = [_sentence(f) for f in measured.broken]
    if options.get("symmetries") is not None or not measured.findings:
        faults += [
            f"{name} was not measured: it does not apply here, or it is unknown how the answer moves"
            for name in measured.left_out
        ]
    faults += [
        f"{f.symmetry}: the error {f.model.errors[0]:.2g} is more than {within:g}"
        for f in measured.findings
        if not f.broken and f.model.errors[0] > within
    ]
    if faults:
        raise AssertionError("; ".join(faults))
    return measured


def _sentence(f: Finding) -> str:
    layer = f" by {f.layer}" if f.layer else ""
    for mode, measured in (("", f.model), (" in training", f.training)):
        if measured is not None and measured.verdict == "broken":
            errors = ", ".join(f"{e:.2g}" for e in measured.errors)
            return f"{f.symmetry} is broken{mode}{layer}: errors {errors}"
    return f"{f.symmetry} is broken{layer} by coarse arithmetic: error {f.own_error:.2g} (TF32?)"


# ------------------------------------------------------------------------------------------------- the model


def _checked(symmetries: Sequence[str] | None) -> list[str]:
    unknown = [name for name in symmetries or () if name not in SYMMETRIES]
    if unknown:
        raise GeocnnError(f"there is no symmetry {unknown[0]!r}; there are {', '.join(SYMMETRIES)}")
    return list(SYMMETRIES) if symmetries is None else list(symmetries)


def _with_status(names: Sequence[str], console: Console | None) -> Iterator[str]:
    if console is None:
        yield from names
        return
    with console.status("") as status:
        for number, name in enumerate(names, 1):
            status.update(f"measuring {name}, {number} of {len(names)}")
            yield name


def _type_of(model: Any, name: str, field_type: FieldType | str | None) -> FieldType | None:
    field_type = getattr(model, name, None) if field_type is None else field_type
    return None if field_type is None else FieldType(field_type)


def _takes_geometry(model: Any) -> bool:
    called = model.forward if isinstance(model, nn.Module) else model
    try:
        signature = inspect.signature(called)
    except ValueError:  # torch.relu has none
        return False
    _, *others = [
        p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ] or [None]
    # GaugeConv has a default for its stencil, to say what is missing when nn.Sequential hands it none
    return any(p is not None and (p.default is p.empty or p.name == "stencil") for p in others)


def _default_build(model: Any, surface: Surface) -> Callable[[Surface], Where] | None:
    """Return the default of `build`, None where the model takes no geometry.

    The radius is 2.5 spacings of the surface on every grid; finer grids have as many rings of samples, with
    more samples per ring.
    """
    if not _takes_geometry(model):
        return None
    if isinstance(model, HarmonicEncoder | HarmonicUNet):
        return lambda s: _grids(model, s)
    if isinstance(model, HarmonicBlock | SO3Correlation):
        return _grid
    radius = default_radius(surface)
    rings = surface.default_samples(radius)[0]

    def samples(s: Surface) -> tuple[int, int]:
        return rings, s.default_samples(radius)[1]

    if isinstance(model, SurfaceEncoder | SurfaceUNet):
        n = len(model.within)
        return lambda s: s.hierarchy(n, radius, "exp", samples(s))
    return lambda s: s.stencil(radius, "exp", samples(s))


def _grid(surface: Surface) -> RingGrid:
    grid = transform_grid(surface)
    if grid is None:
        raise GeometryError(
            f"{surface!r} has no harmonic transform; use healpix or ring_grid in its original frames"
        )
    return grid


def _grids(model: HarmonicEncoder | HarmonicUNet, surface: Surface) -> list[RingGrid]:
    """Return one grid per width, each half as fine as the last; an encoder's first is the input's twice."""
    encodes = isinstance(model, HarmonicEncoder)
    widths = len(model.blocks) if encodes else len(model.down)
    grids = [_grid(surface)]
    for _ in range(widths - 1):
        surface = surface.coarser()
        grids.append(_grid(surface))
    return grids[:1] + grids if encodes else grids


def _setup(
    surface: Surface, build: Callable[[Surface], Where] | None, in_type: FieldType, seed: int
) -> Setup:
    """Return the setup whose waves are at least six spacings of the coarsest level long."""
    setup = Setup(surface, build, in_type, 1.0, seed)
    return replace(setup, wavelength=6 * max(level.spacing for level in setup.levels))


def _copies(model: Any) -> tuple[Any, nn.Module | None, torch.dtype]:
    """Return a float64 copy for evaluation on the CPU, an unchanged copy if that differs, and its dtype."""
    if not isinstance(model, nn.Module):
        return model, None, torch.float64
    own = first_weight(model)
    double = copy.deepcopy(model).cpu().double().eval()
    for w in (*double.parameters(), *double.buffers()):
        if w.is_complex():  # Module.double leaves complex weights as they are
            w.data = w.data.to(torch.complex128)
    if own is None or (own.dtype.to_real() == torch.float64 and own.device.type == "cpu"):
        return double, None, torch.float64
    return double, copy.deepcopy(model).eval(), own.dtype.to_real()


def _in_training(model: Any, setup: Setup) -> tuple[nn.Module | None, str | None]:
    """Return a copy in training mode, None if it answers as in evaluation; or why it cannot be measured."""
    if not isinstance(model, nn.Module):
        return None, None
    training = copy.deepcopy(model).train()
    for module in training.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | FieldDropout):
            module.eval()
        if isinstance(getattr(module, "momentum", None), float):
            module.momentum = 0.0  # pyright: ignore[reportArgumentType]  # running moments stay as they are
    x = as_picture(setup, setup.field()) if setup.is_picture else setup.field()
    try:
        y, again = (run(training, x, setup.where) for _ in range(2))
    except ValueError as error:  # torch.nn.BatchNorm1d refuses one example
        return None, f"training mode was not measured: {error}"
    if relative(again, y) > EXACT[torch.float64]:
        return None, "training mode was not measured: the model answers differently there when asked again"
    is_same = relative(y, run(model, x, setup.where)) <= EXACT[torch.float64]
    return (None if is_same else training), None


def _check_answer(model: Any, setup: Setup, out_type: FieldType | None) -> None:
    """Raise GeocnnError for an answer that cannot be measured, FieldTypeError for a field of unknown type."""
    x = as_picture(setup, setup.field()) if setup.is_picture else setup.field()
    y, again = (run(model, x, setup.where) for _ in range(2))
    if not isinstance(y, Tensor):
        raise GeocnnError(
            f"the model answers with a {type(y).__name__}; measure a function that returns one of its tensors"
        )
    if not bool(y.isfinite().all()):
        raise GeocnnError(f"{int((~y.isfinite()).sum())} of {y.numel()} values of the answer are not finite")
    if relative(again, y) > EXACT[torch.float64]:
        raise GeocnnError(
            "the model answers differently when called again; give it without its randomness, or with a "
            "generator that each call seeds anew"
        )
    if setup.is_picture:
        return
    if out_type is None and y.ndim > 1 and y.shape[-2] in {level.n_points for level in setup.levels}:
        raise FieldTypeError(
            f"the answer is a field on {y.shape[-2]} points but the model has no out_type; "
            "give it, as out_type='8x0' for eight scalars"
        )
    if out_type is not None:
        out_type.check(y)
