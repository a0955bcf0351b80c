"""Wigner d and D matrices by recurrences in the degree, and exact rotation of harmonic coefficients.

Convention (sympy's `Rotation.d(l, m, n)`; Varshalovich et al. 1988, chapter 4):

    d^l_mn(beta) = <l m| exp(-i beta J_y) |l n>,      D^l_mn(R) = e^{-i m alpha} d^l_mn(beta) e^{-i n gamma}

for R = Rz(alpha) Ry(beta) Rz(gamma), so that Y_ln(R^-1 p) = sum_m D^l_mn(R) Y_lm(p). Both routines climb in l with

    sqrt(((l+1)^2-m^2)((l+1)^2-n^2)) d^{l+1} = (2l+1) ((l+1) cos beta - mn/l) d^l - (l+1)/l sqrt((l^2-m^2)(l^2-n^2)) d^{l-1}

(Kostelec & Rockmore 2008, section 3.2), which is stable upwards from the first degree L = max(|m|, |n|), where

    d^L_mn = sqrt(binomial(2L, |m-n|)) cos(beta/2)^|m+n| (+-sin(beta/2))^|m-n|,      minus where m > n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from geocnn.errors import GroupError, MapError
from geocnn.groups.rotations import zyz_from_matrix

_LOG_RESCALE = 200 * math.log(10)


def wigner_d_column(lmax: int, m: int | Tensor, n: int | Tensor, beta: Tensor) -> Tensor:
    """d^l_mn(beta) of all degrees l = 0 .. lmax for given orders: the engine of spin-weighted harmonics.

    Mantissa and logarithm of the scale are carried apart, so nothing underflows on the way to a representable value.

    Args:
        lmax: largest degree.
        m, n: integer orders of any sign, broadcast with each other and with beta.
        beta: radians, any real values; computed in float64 whatever its dtype.

    Returns:
        float64 [..., lmax + 1], zero for l < max(|m|, |n|); [...] is the broadcast shape of m, n and beta.

    Raises:
        GroupError: lmax is negative.

    >>> beta = torch.tensor(0.5, dtype=torch.float64)
    >>> d = wigner_d_column(2, 0, 0, beta)                     # the Legendre polynomials of cos(beta)
    >>> bool(torch.isclose(d[2], 1.5 * beta.cos() ** 2 - 0.5))
    True
    """
    _check_degree(lmax)
    beta = beta.to(torch.float64)
    m, n = torch.broadcast_tensors(
        torch.as_tensor(m, dtype=torch.int64, device=beta.device),
        torch.as_tensor(n, dtype=torch.int64, device=beta.device),
    )
    first = torch.maximum(m.abs(), n.abs())
    sign, log_scale = _seed(m, n, beta)
    cos_beta, product = torch.cos(beta), (m * n).to(torch.float64)
    m_squared, n_squared = (m * m).to(torch.float64), (n * n).to(torch.float64)

    def root(l: int) -> Tensor:
        return torch.sqrt((l * l - m_squared).clamp(min=0.0) * (l * l - n_squared).clamp(min=0.0))

    previous = torch.zeros_like(sign)
    current = torch.where(first == 0, sign, 0.0)
    scale = torch.exp(log_scale)
    columns = [current * scale]
    for l in range(lmax):
        below = max(l, 1)
        step = (2 * l + 1) * ((l + 1) * cos_beta - product / below) * current - (l + 1) / below * root(l) * previous
        # Below the first degree the root is 0 and so is the step: any divisor serves.
        step = step / torch.where(first <= l, root(l + 1), 1.0)
        previous, current = current, torch.where(first == l + 1, sign, step)
        grown = current.abs() > 1e200
        if bool(grown.any()):
            shrink = torch.where(grown, 1e-200, 1.0)
            previous, current = previous * shrink, current * shrink
            log_scale = log_scale + torch.where(grown, _LOG_RESCALE, 0.0)
            scale = torch.exp(log_scale)
        columns.append(current * scale)
    return torch.stack(columns, dim=-1)


def wigner_d_matrices(lmax: int, beta: Tensor) -> Iterator[Tensor]:
    """The matrices d^0, d^1, ..., d^lmax one after another, so that only three are ever in memory.

    In float64 they are exact to 1e-12 at degree 256; beyond about 900 the seeds underflow and entries are lost:
    use `wigner_d_column` there. Differentiable in beta.

    Args:
        lmax: largest degree.
        beta: [...] radians, any real values; computed in float64 whatever its dtype.

    Yields:
        float64 [..., 2l + 1, 2l + 1], rows m and columns n from -l to l.

    Raises:
        GroupError: lmax is negative.

    >>> [tuple(d.shape) for d in wigner_d_matrices(2, torch.zeros(4))]
    [(4, 1, 1), (4, 3, 3), (4, 5, 5)]
    """
    _check_degree(lmax)
    beta = beta.to(torch.float64)[..., None]
    cos_beta, sin_beta = torch.cos(beta), torch.sin(beta)
    cos_squared, sin_squared = 0.5 * (1 + cos_beta), 0.5 * (1 - cos_beta)
    previous, current = torch.zeros_like(beta)[..., None], torch.ones_like(beta)[..., None]
    edge, cos_edge, sin_edge = torch.ones_like(beta), torch.ones_like(beta), torch.ones_like(beta)
    yield current
    for l in range(lmax):
        order = torch.arange(-l, l + 1, dtype=torch.float64, device=beta.device)
        signs = 1.0 - 2.0 * torch.arange(2 * l + 3, dtype=torch.float64, device=beta.device).remainder(2)
        root_next = torch.sqrt((l + 1) ** 2 - order**2)
        below = max(l, 1)
        root = torch.sqrt(l**2 - order**2) * math.sqrt((l + 1) / below)
        inner = (2 * l + 1) * ((l + 1) * cos_beta[..., None] - torch.outer(order, order) / below) * current
        inner = (inner - torch.outer(root, root) * previous) / torch.outer(root_next, root_next)
        # Row m = l + 1 from the row m = l of degree l: the seeds' ratio, without binomials.
        edge = edge * -0.5 * sin_beta * (math.sqrt((2 * l + 2) * (2 * l + 1)) / root_next)
        cos_edge, sin_edge = cos_edge * cos_squared, sin_edge * sin_squared
        edge = torch.cat([sin_edge, edge, cos_edge], dim=-1)
        # d_mn = (-1)^(m-n) d_nm = d_-n,-m gives the other three edges.
        middle = torch.cat([edge.flip(-1)[..., None, 1:-1] * 1.0, inner, edge[..., None, 1:-1]], dim=-2)
        previous, current = current, middle
        yield current


def wigner_d(l: int, beta: Tensor) -> Tensor:
    """The matrix d^l_mn(beta) of one degree, by climbing there from degree 0.

    Args:
        l: degree.
        beta: [...] radians, any real values; computed in float64 whatever its dtype.

    Returns:
        float64 [..., 2l + 1, 2l + 1], rows m and columns n from -l to l.

    Raises:
        GroupError: l is negative.

    >>> d = wigner_d(1, torch.tensor(torch.pi / 2, dtype=torch.float64))
    >>> [[round(v, 4) + 0.0 for v in row] for row in d.tolist()]
    [[0.5, 0.7071, 0.5], [-0.7071, 0.0, 0.7071], [0.5, -0.7071, 0.5]]
    """
    matrix = torch.empty(0)
    for matrix in wigner_d_matrices(l, beta):
        pass
    return matrix
