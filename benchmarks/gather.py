"""GaugeConv beside the forms one would write first: the same map with the same weights.

10,000 points of a Fibonacci sphere, the 32 nearest of each; 32 channels of each frequency 0, 1, 2; 3 rings.

    GaugeConv       moments by dense blocks of tiles, those of the cotangent in the backward pass
    per edge        gather x[source], transport, multiply by kernel basis and weights, add to targets
    edge moments    the same, but moments are added to targets first and meet the weights once a target
    CSR             moments as one sparse product (torch.sparse, transpose stored), then the weights
    weights alone   the product of ready moments with the weights: what a layer cannot do without

Every form gets transport, kernel basis and quadrature weight as one precomputed coefficient, so none pays for
geometry. Times are those of the processor, on one thread. Saved: what autograd keeps between forward and
backward, without weights and those coefficients, which are constant. (`index_add` keeps what it adds.)

python benchmarks/gather.py      prints, and writes benchmarks/gather.csv (some minutes, 12 GB)
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from import_time import cpu_name
from torch import Tensor

from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.spheres.surfaces import great_circle_transport, sphere_frames
from geocnn.groups import SO2
from geocnn.groups.irrep import has_complex_structure
from geocnn.nn import GaugeConv
from geocnn.nn.linear import real_matrix
from geocnn.ops.adjoint import adjoint, transposed
from geocnn.ops.blocks import runs_of
from geocnn.ops.coefficients import Entries, moment_coefficients
from geocnn.ops.operators import operator

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
POINTS, ENTRIES, REPEATS = 10_000, 32, 5
TYPE = "32x0 + 32x1 + 32x2"
FORMATS = ".0f", ".0f", ".2f", ".0f", ".0f", ".1e"


def fibonacci_sphere(n: int) -> Tensor:
    """Unit vectors [n, 3], numbered in rings a point spacing wide, so that neighbours have near numbers."""
    k = torch.arange(n, dtype=torch.float64)
    z, phi = 1 - (2 * k + 1) / n, (k * torch.pi * (3 - 5**0.5)) % (2 * torch.pi)
    ring = (z.acos() / (4 * torch.pi / n) ** 0.5).floor()
    rho = (1 - z**2).sqrt()
    points = torch.stack([rho * phi.cos(), rho * phi.sin(), z], -1)
    return points[(7 * ring + phi).argsort()]


def nearest_stencil(points: Tensor, entries: int) -> Stencil:
    """The nearest points of each, itself included, at their log coordinates, with equal weights."""
    source = torch.cat([torch.cdist(p, points).topk(entries, largest=False)[1] for p in points.split(1000)])
    base, frames = points[:, None], sphere_frames(points)
    toward = points[source] - (points[source] * base).sum(-1, keepdim=True) * base
    r = torch.atan2(toward.norm(dim=-1), (points[source] * base).sum(-1))
    place = torch.einsum("tid,ted->tei", frames, toward)
    moved = great_circle_transport(points[source], base, frames[source, 0])
    carried = torch.einsum("tid,ted->tei", frames, moved)
    return Stencil(
        row_ptr=torch.arange(len(points) + 1) * entries,
        source=source.flatten(),
        r=r.flatten(),
        theta=torch.atan2(place[..., 1], place[..., 0]).flatten(),
        weight=torch.full((source.numel(),), 1 / entries, dtype=torch.float64),
        angle=torch.atan2(carried[..., 1], carried[..., 0]).flatten(),
        flip=None,
        radius=1.05 * float(r.max()),
        n_source=len(points),
        group=SO2,
    )


def mixed(layer: GaugeConv, moments: list[Tensor]) -> dict:
    """The features each target irrep gets from moments [P, rows, C], one tensor a source irrep."""
    found, mix, group = {}, layer.mix(), layer.in_type.group
    for irrep, m in zip(layer.basis.sources, moments, strict=True):
        for landing, dim, count, row in layer.basis.runs(irrep):
            run = m[:, row : row + dim * count].unflatten(1, (dim, -1)).flatten(2)
            matrix = real_matrix(mix[landing, irrep])
            if has_complex_structure(landing, group):
                part = (run.flatten(1) @ matrix).unflatten(-1, (dim, -1))
            else:
                part = run @ matrix
            found[landing] = part if landing not in found else found[landing] + part
    return found


def per_edge(
    layer: GaugeConv, stencil: Stencil, coefficients: list[Tensor], x: Tensor, mix_last: bool
) -> Tensor:
    """Messages along edges, summed at targets; the weights act on edges or, if mix_last, on sums."""

    def summed(edges: Tensor) -> Tensor:
        return edges.new_zeros(stencil.n_target, *edges.shape[1:]).index_add(0, stencil.target, edges)

    moments = []
    for irrep, coefficient in zip(layer.basis.sources, coefficients, strict=True):
        at_source = layer.in_type.select(x, irrep)[stencil.source]
        edges = coefficient @ at_source
        moments.append(summed(edges) if mix_last else edges)
    y = layer.out_type.join(mixed(layer, moments))
    return y if mix_last else summed(y)


class SparseProduct(torch.autograd.Function):
    """matrix @ x with a stored transpose, both CSR constants."""

    @staticmethod
    def forward(ctx, matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ x

    @staticmethod
    def backward(ctx, g: Tensor):
        return None, None, ctx.transposed @ g


def csr_matrices(stencil: Stencil, coefficient: Tensor) -> tuple[Tensor, Tensor]:
    """The map x [N · d, C] to moments [T · rows, C] and its transpose."""
    _, rows, d = coefficient.shape
    row = stencil.target[:, None, None] * rows + torch.arange(rows)[:, None]
    column = stencil.source[:, None, None] * d + torch.arange(d)
    index = torch.stack([i.expand(coefficient.shape).flatten() for i in (row, column)])
    size = (stencil.n_target * rows, stencil.n_source * d)
    matrix = torch.sparse_coo_tensor(index, coefficient.flatten(), size)
    return matrix.to_sparse_csr(), matrix.t().to_sparse_csr()


def csr(layer: GaugeConv, stencil: Stencil, matrices: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    moments = []
    for irrep, (matrix, back) in zip(layer.basis.sources, matrices, strict=True):
        field = layer.in_type.select(x, irrep).flatten(0, 1)
        moments.append(SparseProduct.apply(matrix, back, field).unflatten(0, (stencil.n_target, -1)))
    return layer.out_type.join(mixed(layer, moments))


def weights_alone(layer: GaugeConv) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Pairs of moments and weights, as large as the layer's, and a cotangent for each product."""
    pairs = []
    for run, (parts, rows, copies) in zip(runs_of(layer._plan.runs), layer._plan.shapes, strict=True):
        for _ in range(1 if run.is_complex else run.dim):
            factors = torch.randn(POINTS, parts * rows), torch.randn(parts * rows, parts * copies)
            pairs.append((*(f.requires_grad_() for f in factors), torch.randn(POINTS, parts * copies)))
    return pairs


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def saved_bytes(run: Callable[[], Tensor], constants: list[Tensor]) -> int:
    """Bytes of distinct storages that autograd keeps for the backward pass, the constants' excluded."""
    known = {t.untyped_storage().data_ptr() for t in constants}
    found: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = run()
    assert y.requires_grad
    return sum(found.values())


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stencil = nearest_stencil(fibonacci_sphere(POINTS), ENTRIES)
    layer = GaugeConv(TYPE, TYPE, rings=3, bias=False)
    x = torch.randn(POINTS, layer.in_type.dim, requires_grad=True)
    g = torch.randn(POINTS, layer.out_type.dim)
    plan = adjoint(layer._plan.name).plan
    assert plan.basis is not None
    blocks = [
        *operator(stencil, layer.basis, x.dtype).tensors,
        *operator(transposed(stencil), plan.basis, x.dtype).tensors,
    ]
    own = (stencil.theta, stencil.weight, stencil.angle, stencil.flip)
    every = Entries(stencil.r / stencil.radius, *own)
    coefficients = [c.movedim(-1, 0).float().contiguous() for c in moment_coefficients(every, layer.basis)]
    matrices = [csr_matrices(stencil, c) for c in coefficients]
    weights = list(layer.parameters())
    forms = {
        "GaugeConv": lambda: layer(x, stencil),
        "per edge": lambda: per_edge(layer, stencil, coefficients, x, mix_last=False),
        "edge moments": lambda: per_edge(layer, stencil, coefficients, x, mix_last=True),
        "CSR": lambda: csr(layer, stencil, matrices, x),
    }
    held = [*blocks, *coefficients, stencil.source, *weights]
    constant = {
        "GaugeConv": sum(t.nbytes for t in blocks),
        "CSR": sum(t.values().nbytes + t.col_indices().nbytes for pair in matrices for t in pair),
    }

    def inference(form: Callable[[], T]) -> T:
        with torch.no_grad():
            return form()

    def training(form: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(form(), [x, *weights], g)

    expected = inference(forms["GaugeConv"])
    expected_gradient = torch.cat([t.flatten() for t in training(forms["GaugeConv"])])
    errors, saved = {}, {}
    for name, form in forms.items():
        gradient = torch.cat([t.flatten() for t in training(form)])
        pairs = (inference(form), expected), (gradient, expected_gradient)
        errors[name] = max(float((a - b).norm() / b.norm()) for a, b in pairs)
        saved[name] = saved_bytes(form, held) / 2**20
    pairs = weights_alone(layer)

    def products() -> list[Tensor]:
        return [moments @ matrix for moments, matrix, _ in pairs]

    def their_gradients() -> tuple[Tensor, ...]:
        factors = [factor for *both, _ in pairs for factor in both]
        return torch.autograd.grad(products(), factors, [cotangent for *_, cotangent in pairs])

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*forms, "weights alone")}
    for _ in range(REPEATS):
        times["weights alone"].append((seconds(lambda: inference(products)), seconds(their_gradients)))
        for name, form in forms.items():
            times[name].append((seconds(lambda f=form: inference(f)), seconds(lambda f=form: training(f))))

    rows = []
    columns = "form", "forward ms", "forward+backward ms", "ratio", "saved MiB", "constant MiB", "differs"
    print("{:14}{:>12}{:>22}{:>8}{:>12}{:>14}{:>10}".format(*columns))
    base = statistics.median(t for _, t in times["GaugeConv"])
    for name in times:
        forward, both = (statistics.median(t) for t in zip(*times[name], strict=True))
        size = constant.get(name, sum(t.nbytes for t in coefficients)) / 2**20
        measured = 1e3 * forward, 1e3 * both, both / base
        measured = (*measured, saved[name], size, errors[name]) if name in forms else measured
        row = [f"{value:{spec}}" for value, spec in zip(measured, FORMATS, strict=False)]
        row += [""] * (len(FORMATS) - len(row))
        print("{:14}{:>12}{:>22}{:>8}{:>12}{:>14}{:>10}".format(name, *row))
        rows.append(
            [name, *row, POINTS, ENTRIES, TYPE, 3, cpu_name(), torch.get_num_threads(), torch.__version__]
        )
    with (ROOT / "benchmarks" / "gather.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        measured = "form forward_ms forward_backward_ms ratio saved_MiB constant_MiB relative_difference"
        writer.writerow([*measured.split(), *"points entries type rings cpu threads torch".split()])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
