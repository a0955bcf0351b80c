"""Contenders of the correlation rows of harmonics.py: one task, samples on SO(3) in, samples on SO(3) out.

All take real samples at points of a grid and equidistant third angles gamma, transform, correlate with
learnt weights a degree, and transform back to another grid. `Layer` is ours; `DegreeLoop` the same map with
the same weights, written from the formula with a loop over degrees; `reference` is s2cnn (Cohen et al. 2018),
whose kernel is given by samples near the identity.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geocnn.groups.rotations import matrix_from_zyz
from geocnn.groups.wigner import wigner_D, wigner_d, wigner_d_column
from geocnn.harmonics import RingGrid, equiangular, gauss_legendre, so3_synthesis
from geocnn.nn import SO3Correlation


class Case(NamedTuple):
    task: str
    channels: tuple[int, int]
    bandwidth: tuple[int, int]
    """In and out; degrees are below it."""
    frequencies: tuple[int, int]
    """The highest in gamma, in and out."""
    soft: bool
    """s2cnn's samples, 2 bandwidth in every angle; otherwise Gauss-Legendre, and as many as needed."""

    def __str__(self) -> str:
        full = self.frequencies[1] == self.bandwidth[1] - 1
        return self.task + ("" if full else f", n ≤ {self.frequencies[1]}")

    @property
    def grids(self) -> tuple[RingGrid, RingGrid]:
        if self.soft:
            return tuple(equiangular(2 * b, 2 * b) for b in self.bandwidth)
        return tuple(gauss_legendre(b, 2 * b) for b in self.bandwidth)

    @property
    def samples(self) -> tuple[int, int]:
        """Of gamma."""
        pairs = zip(self.bandwidth, self.frequencies, strict=True)
        return tuple(2 * b if self.soft and n else 2 * n + 1 for b, n in pairs)

    def layer(self) -> SO3Correlation:
        torch.manual_seed(0)
        types = (
            " + ".join(f"{c}x{i}" for i in range(n + 1))
            for c, n in zip(self.channels, self.frequencies, strict=True)
        )
        return SO3Correlation(*types, self.bandwidth[1] - 1, bias=False)


CASES = [
    Case("SO(3) -> SO(3)", (20, 40), (10, 6), (5, 5), True),
    Case("SO(3) -> SO(3)", (20, 40), (10, 6), (5, 5), False),
    Case("SO(3) -> SO(3)", (20, 40), (10, 6), (2, 2), False),
    Case("S2 -> SO(3)", (1, 20), (30, 10), (0, 9), True),
    Case("S2 -> SO(3)", (1, 20), (30, 10), (0, 9), False),
    Case("S2 -> SO(3)", (1, 20), (30, 10), (0, 2), False),
]


class Layer(nn.Module):
    """SO3Correlation between samples [n_points, gamma, C, B], in the order that it has in memory."""

    def __init__(self, case: Case):
        super().__init__()
        self.layer, self.grids = case.layer(), case.grids
        waves = [_waves(n, k) for n, k in zip(case.frequencies, case.samples, strict=True)]
        self.register_buffer("reading", waves[0].mT / case.samples[0])
        twice = torch.where(torch.arange(waves[1].shape[1]) == 0, 1.0, 2.0)
        self.register_buffer("writing", waves[1] * twice)

    def forward(self, x: Tensor) -> Tensor:
        fields = _times(self.reading, x).flatten(1, 2).permute(2, 0, 1)
        y = self.layer(fields, *self.grids).permute(1, 2, 0)
        return _times(self.writing, y.unflatten(1, (self.writing.shape[1], -1)))


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """One product per point, over the second dimension."""
    product = torch.bmm(matrix.expand(len(x), -1, -1), x.flatten(2))
    return product.unflatten(2, x.shape[2:])


def _waves(frequencies: int, samples: int) -> Tensor:
    """[samples, 2 frequencies + 1]: 1, cos, sin, cos 2, sin 2, ..."""
    gamma = 2 * math.pi / samples * torch.arange(samples)
    parts = [f(n * gamma) for n in range(1, frequencies + 1) for f in (torch.cos, torch.sin)]
    return torch.stack([torch.ones(samples), *parts], -1)


class DegreeLoop(nn.Module):
    """The same between samples [B, C, rings, ring samples, gamma], degree after degree."""

    def __init__(self, case: Case):
        super().__init__()
        self.frequencies, self.samples, self.out_grid = case.frequencies, case.samples, case.grids[1]
        matrices, self.weight = case.layer().matrices().detach(), nn.ParameterList()
        for l, matrix in enumerate(matrices):
            rows, columns = (min(l, n) for n in case.frequencies)
            kept = matrix[: case.channels[0] * (2 * rows + 1), : case.channels[1] * (columns + 1)]
            self.weight.append(nn.Parameter(kept.clone()))
        degrees = range(len(matrices))
        self.reading = [_table(case.grids[0], l, case.frequencies[0], True) for l in degrees]
        self.writing = [_table(case.grids[1], l, case.frequencies[1], False) for l in degrees]

    def forward(self, x: Tensor) -> Tensor:
        fourier = torch.view_as_real(torch.fft.fft(torch.fft.rfft(x, norm="forward").conj(), dim=-2))
        ring = self.out_grid.shape[1]
        total = 0
        for l, weight in enumerate(self.weight):
            rows, columns = (min(l, n) for n in self.frequencies)
            orders = torch.arange(-l, l + 1)
            part = fourier[..., orders, : rows + 1, :]
            alm = torch.view_as_complex(torch.einsum("rmn,bcrmnz->nmbcz", self.reading[l], part).contiguous())
            found = torch.cat(_with_conjugates(alm), -1) @ weight
            found = torch.view_as_real(found).unflatten(2, (columns + 1, -1))
            values = torch.einsum("rmn,mbncz->bcrmnz", self.writing[l], found)
            spread = values.new_zeros(*values.shape[:3], ring, self.samples[1] // 2 + 1, 2)
            total = total + spread.index_copy(
                3, orders % ring, nn.functional.pad(values, (0, 0, 0, spread.shape[-2] - columns - 1))
            )
        values = torch.fft.ifft(torch.view_as_complex(total), dim=-2, norm="forward")
        return torch.fft.irfft(values.conj(), self.samples[1], norm="forward")


def _table(grid: RingGrid, l: int, frequencies: int, weighted: bool) -> Tensor:
    """[rings, 2l + 1, n]: the spin-n harmonics at longitude 0, times the weights of the rings."""
    n = torch.arange(min(l, frequencies) + 1)
    d = wigner_d_column(l, torch.arange(-l, l + 1)[:, None], -n, grid.theta[:, None, None])[..., l]
    harmonics = (1 - 2 * (n % 2)) * math.sqrt((2 * l + 1) / (4 * math.pi)) * d
    return (harmonics * grid.weight[:, None, None] if weighted else harmonics).float()


def _with_conjugates(alm: Tensor) -> list[Tensor]:
    """alm [n, 2l + 1, B, C] and, for n > 0, the coefficients of the conjugates."""
    l, found = alm.shape[1] // 2, [alm[0]]
    for n in range(1, len(alm)):
        sign = 1 - 2 * ((torch.arange(-l, l + 1) + n) % 2)
        found += [alm[n], sign[:, None, None] * alm[n].flip(0).conj()]
    return found


def reference(case: Case) -> nn.Module:
    """s2cnn's layer, between samples [B, C, rings, ring samples(, gamma)].

    It was written for NumPy 1.19 and lie_learn, from which it has its tables: they are ours here. Its real
    transform on the processor passes complex values to a real one; its complex one, by its side, is taken.
    Raises ImportError where it is not found.
    """
    import numpy

    vars(numpy).setdefault("float", float)
    tables, weights = ModuleType("wigner_d"), ModuleType("S3")
    tables.wigner_d_matrix = lambda l, beta, **_: wigner_d(l, torch.tensor(beta)).numpy()
    tables.wigner_D_matrix = lambda l, *zyz, **_: wigner_D(l, _rotation(*zyz)).numpy()
    weights.quadrature_weights = lambda b: equiangular(2 * b, 2 * b).weight.numpy() / (4 * math.pi)
    for name in ("", ".representations", ".representations.SO3", ".spaces"):
        sys.modules["lie_learn" + name] = ModuleType("lie_learn" + name)
    sys.modules["lie_learn.representations.SO3.wigner_d"] = tables
    sys.modules["lie_learn.spaces"].S3 = sys.modules["lie_learn.spaces.S3"] = weights
    import s2cnn
    from s2cnn.soft import so3_fft
    from s2cnn.utils.complex import as_complex

    so3_fft.so3_rfft = lambda x, for_grad=False, b_out=None: so3_fft.so3_fft(
        as_complex(x).contiguous(), for_grad, b_out
    )
    sizes = (*case.channels, *case.bandwidth)
    if case.frequencies[0]:
        return s2cnn.SO3Convolution(*sizes, s2cnn.so3_near_identity_grid())
    return s2cnn.S2Convolution(*sizes, s2cnn.s2_near_identity_grid())


def _rotation(alpha: float, beta: float, gamma: float) -> Tensor:
    return matrix_from_zyz(*(torch.tensor(a, dtype=torch.float64) for a in (alpha, beta, gamma)))


def contender(name: str, case: Case, batch: int) -> tuple[Callable[[], Tensor], Callable[[], None]]:
    """Forward, and forward + backward with gradients of input and weights, of the same random functions."""
    if name == "s2cnn":
        case = case._replace(soft=True)
    degrees, frequencies, grid = case.bandwidth[0], case.frequencies[0], case.grids[0]
    shape = (batch, case.channels[0], frequencies + 1, degrees, 2 * degrees - 1)
    alm = torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    x = so3_synthesis(alm, grid, case.samples[0]).unflatten(2, grid.shape)
    if name == "geocnn":
        model, x = Layer(case), x.flatten(2, 3).permute(2, 3, 1, 0)
    elif name == "degree loop":
        model = DegreeLoop(case)
    else:
        model, x = reference(case), x if case.frequencies[0] else x[..., 0]
    x = x.contiguous().requires_grad_()
    with _quiet():
        cotangent = torch.randn_like(model(x))
        model(x).backward(cotangent)
    return lambda: model(x), lambda: model(x).backward(cotangent)


@contextlib.contextmanager
def _quiet():
    """s2cnn writes its tables to the folder it runs in, and says so."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def difference(case: Case, batch: int = 2) -> float:
    """Relative, between our answer and the loop's."""
    ours = contender("geocnn", case, batch)[0]().detach().permute(3, 2, 0, 1)
    loop = contender("degree loop", case, batch)[0]().detach().flatten(2, 3)
    return float((ours - loop).norm() / loop.norm())
