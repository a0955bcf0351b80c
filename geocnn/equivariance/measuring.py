"""The measurement of one symmetry: errors of the model and of each layer, on one grid after another.

An error has one of three causes. Rounding is as small as the number format allows. Discretisation error falls
as the grid is refined while the model's radius, in the surface's units, stays. Any other error is a broken
symmetry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from geocnn.equivariance.errors import relative
from geocnn.equivariance.findings import EXACT, Finding, Measured, Verdict
from geocnn.equivariance.grids import Where
from geocnn.equivariance.layers import layer_errors, recorded, run
from geocnn.equivariance.symmetries import SYMMETRIES
from geocnn.equivariance.trials import Setup, Trial
from geocnn.errors import GeocnnError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType

REDRAWS = 4
"""The number of other fields that are drawn before a symmetry is called broken."""


def find(
    name: str,
    model: Any,
    own: nn.Module | None,
    training: nn.Module | None,
    setups: list[Setup],
    out_type: FieldType | None,
) -> Finding | None:
    """Measure one symmetry of a model in float64, in its own format, and in training mode."""
    in_type, meaning = setups[0].in_type, SYMMETRIES[name].meaning
    results = _over_grids(name, model, setups, out_type)
    if results is None:
        return None
    measured, parts, layer, trials = results
    own_error, own_verdict, training_errors = None, None, None
    if own is not None:
        own_error, own_verdict, culprit = _in_own_format(own, trials, measured, in_type, out_type)
        layer = layer or culprit
    again = None if training is None else _over_grids(name, training, setups, out_type)
    if again is not None:
        training_errors, _, culprit, _ = again
        layer = layer or culprit
    return Finding(name, meaning, measured, parts, own_error, own_verdict, training_errors, layer)


def _over_grids(
    name: str, model: Any, setups: list[Setup], out_type: FieldType | None
) -> tuple[Measured, list[Measured], str | None, list[Trial]] | None:
    """Return the errors of the model and of its layers, the layer that breaks the symmetry, and the trials on
    the first grid; None where the symmetry does not apply.
    """
    trials_of, _, least_order = SYMMETRIES[name]
    least_order = None if setups[0].is_picture else least_order
    results = _errors(trials_of, model, setups[:1] if least_order is None else setups, out_type)
    if results is None:
        return None
    whole, layers, trials = results
    measured = judged(name, whole, least_order)
    for _ in range(REDRAWS):
        if measured.order is None or measured.verdict != "broken":
            break
        # the error of one draw may be small on the coarser grid by chance, and then it seems not to fall
        setups = [setup.redrawn for setup in setups]
        again = _errors(trials_of, model, setups, out_type)
        if again is not None:
            whole = _larger(whole, again[0])
            layers = {layer: _larger(errors, again[1].get(layer, [])) for layer, errors in layers.items()}
            measured = judged(name, whole, least_order)
    parts = [
        judged(layer, errors, least_order) for layer, errors in layers.items() if len(errors) == len(whole)
    ]
    layer = _culprit(parts)
    if measured.verdict == "converging" and layer is not None:
        # the layer's error is still above discretisation level, or a falling error hides a fault
        is_large = next(p for p in parts if p.name == layer).errors[-1] >= whole[-1]
        measured, layer = (replace(measured, verdict="undecided"), layer) if is_large else (measured, None)
    if measured.verdict != "broken":
        parts = [p if p.verdict != "broken" else replace(p, verdict="undecided") for p in parts]
        layer = layer if measured.verdict == "undecided" else None
    return measured, parts, layer, trials


def _errors(
    trials_of: Callable[[Setup], list[Trial]], model: Any, setups: list[Setup], out_type: FieldType | None
) -> tuple[list[float], dict[str, list[float]], list[Trial]] | None:
    """Return the errors of the whole model and of each layer, one per grid, and the trials on the first grid;
    None where the symmetry does not apply. Where the model is exact, the first grid is enough.
    """
    whole: list[float] = []
    layers: dict[str, list[float]] = {}
    trials: list[Trial] = []
    for setup in setups:
        here = trials_of(setup)
        if not here:
            return None
        trials = trials or here
        try:
            error, errors = _measure(model, here, setup.in_type, out_type)
        except RuntimeError as failure:
            if setup is setups[0]:
                raise
            raise GeocnnError(
                f"the model runs on {setups[0].surface.n_points} points and not on the "
                f"{setup.surface.n_points} of a finer grid: {failure}; give refinements=0"
            ) from failure
        if error is None:
            return None
        whole.append(error)
        for layer, error in errors.items():
            layers.setdefault(layer, []).append(error)
        if whole[0] <= EXACT[torch.float64]:
            break
    return whole, layers, trials


def _larger(one: list[float], other: list[float]) -> list[float]:
    """Return the larger of two draws' errors per grid, or the first draw's where their numbers differ."""
    return list(map(max, one, other)) if len(one) == len(other) else one


def _culprit(layers: list[Measured]) -> str | None:
    """Return the first broken layer whose error is within a factor of two of the largest."""
    broken = [p for p in layers if p.verdict == "broken"]
    worst = max((p.errors[-1] for p in broken), default=0.0)
    return next((p.name for p in broken if p.errors[-1] >= worst / 2), None)


def _measure(
    model: Any, trials: list[Trial], in_type: FieldType, out_type: FieldType | None
) -> tuple[float | None, dict[str, float]]:
    """Return the largest errors over the trials, of the whole model and of each layer; None where it is
    unknown how the answer moves.
    """
    whole: list[float] = []
    layers: list[dict[str, float]] = []
    for trial in trials:
        y, calls = recorded(model, trial, in_type, out_type)
        layers.append(layer_errors(model, trial, calls) if isinstance(model, nn.Module) else {})
        expected = trial.act(y, out_type)
        if expected is None:
            return None, {}
        whole.append(float(relative(run(model, trial.moved_x, trial.moved_where), expected)))
    return max(whole), {layer: max(errors.get(layer, 0.0) for errors in layers) for layer in layers[0]}


def _in_own_format(
    model: nn.Module,
    trials: list[Trial],
    measured: Measured,
    in_type: FieldType,
    out_type: FieldType | None,
) -> tuple[float | None, Verdict | None, str | None]:
    """Return the error in the model's own format; where float64 is exact, also whether that error is rounding
    and, if not, the layer where it is largest.
    """
    cast = [_cast(t, model) for t in trials]
    error, layers = _measure(model, cast, in_type, out_type)
    if error is None or measured.verdict != "exact":
        return error, None, None
    bound = EXACT[cast[0].x.dtype]
    if error <= bound:
        return error, "exact", None
    coarse = {layer: e for layer, e in layers.items() if e > bound}
    return error, "broken", max(coarse, key=lambda layer: coarse[layer], default=None)


def judged(name: str, errors: list[float], least_order: float | None) -> Measured:
    """Judge the errors on a grid and on finer ones.

    `least_order` is the least order at which discretisation errors fall; one grid alone is then undecided.
    It is None where discretisation causes no error.

    >>> judged("a", [1e-15], 0.75).verdict, judged("b", [0.1, 0.025], 0.75).order
    ('exact', 2.0)
    >>> judged("c", [0.8, 0.7], 0.75).verdict
    'broken'
    """
    if max(errors) <= EXACT[torch.float64]:
        return Measured(name, errors, None, "exact")
    if least_order is None or len(errors) == 1:
        return Measured(name, errors, None, "broken" if least_order is None else "undecided")
    order = math.log2(max(errors[-2], 1e-16) / max(errors[-1], 1e-16))
    return Measured(name, errors, order, "converging" if order >= least_order else "broken")


def _cast(trial: Trial, model: nn.Module) -> Trial:
    """Return the trial in the model's dtype, on its device."""
    p = first_weight(model)
    assert p is not None
    device, dtype = p.device, p.dtype.to_real()

    def cast(where: Where | None) -> Where | None:
        return where.to(device, dtype) if isinstance(where, Stencil | Hierarchy) else where

    return replace(
        trial,
        x=trial.x.to(device, dtype),
        moved_x=trial.moved_x.to(device, dtype),
        where=cast(trial.where),
        moved_where=cast(trial.moved_where),
    )


def first_weight(model: nn.Module) -> nn.Parameter | None:
    """Return the weight whose number format and device count as the model's."""
    return next((p for p in model.parameters() if p.is_floating_point() or p.is_complex()), None)
