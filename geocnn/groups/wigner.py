"""Wigner d and D matrices by recurrences in the degree, and exact rotation of harmonic coefficients.

Convention (sympy's `Rotation.d(l, m, n)`; Varshalovich et al. 1988, chapter 4):

    d^l_mn(beta) = <l m| exp(-i beta J_y) |l n>,      D^l_mn(R) = e^{-i m alpha} d^l_mn(beta) e^{-i n gamma}

for R = Rz(alpha) Ry(beta) Rz(gamma), so that Y_ln(R^-1 p) = sum_m D^l_mn(R) Y_lm(p). With
r_l = sqrt((l^2 - m^2)(l^2 - n^2)), both routines ascend in l by

    r_{l+1} d^{l+1}_mn = (2l+1) ((l+1) cos beta - mn/l) d^l_mn - (l+1)/l r_l d^{l-1}_mn

(Kostelec & Rockmore 2008, section 3.2). This is stable upwards from the first degree L = max(|m|, |n|), where

    d^L_mn = sqrt(binomial(2L, |m-n|)) cos(beta/2)^|m+n| (+-sin(beta/2))^|m-n|,      minus where m > n.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Complex128, Float, Float64, Int64
from torch import Tensor

from geocnn.errors import GroupError, MapError
from geocnn.groups.rotations import zyz_from_matrix

_LOG_RESCALE = 100 * math.log(10)


def wigner_d_column(
    lmax: int, m: int | Tensor, n: int | Tensor, beta: Float[Tensor, "*shape"]
) -> Float64[Tensor, "*batch {lmax}+1"]:
    """Return d^l_mn(beta) for given orders and all degrees l = 0 .. lmax, for spin-weighted harmonics.

    Mantissa and logarithm of the scale are separate numbers, so nothing underflows before a representable
    value. The error is below 5e-13 at degree 128 and 2e-12 at degree 256, largest next to beta = 0 and pi.
    The result is not differentiable.

    Args:
        lmax: largest degree.
        m, n: integer orders of any sign, which broadcast with each other and with beta.
        beta: radians, any real values; computed in float64 whatever its dtype.

    Returns:
        values, zero for l < max(|m|, |n|); leading axes are the broadcast shape of m, n and beta. In memory
        the degrees come first.

    Raises:
        GroupError: lmax is negative.

    >>> beta = torch.tensor(0.5, dtype=torch.float64)
    >>> d = wigner_d_column(2, 0, 0, beta)                     # the Legendre polynomials of cos(beta)
    >>> bool(torch.isclose(d[2], 1.5 * beta.cos() ** 2 - 0.5))
    True
    """
    _check_degree(lmax)
    beta = beta.detach().to(torch.float64)
    orders = [torch.as_tensor(order, dtype=torch.int64, device=beta.device) for order in (m, n)]
    row, column = torch.broadcast_tensors(*orders)
    first = torch.maximum(row.abs(), column.abs())
    cosine, constant, back = _steps(lmax, row, column)
    sign, log_scale = _seed(row, column, beta)
    cos_beta = torch.cos(beta)

    starts = set(first.unique().tolist())
    columns = torch.zeros(lmax + 1, *sign.shape, dtype=torch.float64, device=beta.device)
    previous, current = torch.zeros_like(sign), torch.zeros_like(sign)
    scale = torch.exp(log_scale)
    for l in range(min(starts, default=0), lmax + 1):
        if l in starts:
            current = torch.where(first == l, sign, current)
        torch.mul(current, scale, out=columns[l])
        if l == lmax:
            break
        factor = torch.addcmul(constant[l], cosine[l], cos_beta)
        previous.mul_(back[l]).addcmul_(factor, current)
        previous, current = current, previous
        # one step grows by 2l + 1 at most, and 16 steps by far less than the rest of the range
        if l % 16 == 15:
            large = current.abs() > 1e100
            if bool(large.any()):
                previous = torch.where(large, 1e-100 * previous, previous)
                current = torch.where(large, 1e-100 * current, current)
                log_scale = torch.where(large, log_scale + _LOG_RESCALE, log_scale)
                scale = torch.exp(log_scale)
    return columns.movedim(0, -1)


def _steps(
    lmax: int, m: Int64[Tensor, "*batch"], n: Int64[Tensor, "*batch"]
) -> tuple[Float64[Tensor, "degrees ..."], Float64[Tensor, "degrees ..."], Float64[Tensor, "degrees ..."]]:
    """Return cosine, constant and back of d^{l+1} = (cosine_l cos(beta) + constant_l) d^l + back_l d^{l-1}.

    They are zero below the first degree.
    """
    l = torch.arange(lmax, dtype=torch.float64, device=m.device).reshape(-1, *[1] * m.ndim)
    m, n = m.to(torch.float64), n.to(torch.float64)
    alive = torch.maximum(m.abs(), n.abs()) <= l

    def root(l: Tensor) -> Tensor:
        return torch.where(alive, (l**2 - m**2) * (l**2 - n**2), 1.0).sqrt()

    after, divisor = root(l + 1), l.clamp(min=1)
    steps = (
        (2 * l + 1) * (l + 1) / after,
        -(2 * l + 1) * (m * n / divisor) / after,
        -(l + 1) / divisor * root(l) / after,
    )
    cosine, constant, back = (torch.where(alive, step, 0.0) for step in steps)
    return cosine, constant, back


def wigner_d_matrices(lmax: int, beta: Tensor) -> Iterator[Tensor]:
    """Yield the matrices d^0, d^1, ..., d^lmax, so that only three are ever in memory.

    The error is below 5e-13 at degree 128 and 2e-12 at degree 256. From about degree 900 on seeds underflow;
    use `wigner_d_column` there. The matrices are differentiable in beta.

    Args:
        lmax: largest degree.
        beta: [...] radians, any real values; computed in float64 whatever its dtype.

    Yields:
        float64 [..., 2l + 1, 2l + 1], with rows m and columns n from -l to l.

    Raises:
        GroupError: lmax is negative.

    >>> [tuple(d.shape) for d in wigner_d_matrices(2, torch.zeros(4))]
    [(4, 1, 1), (4, 3, 3), (4, 5, 5)]
    """
    _check_degree(lmax)
    beta = beta.to(torch.float64)[..., None]
    cos_beta, sin_beta = torch.cos(beta)[..., None], torch.sin(beta)
    cos_squared, sin_squared = torch.cos(0.5 * beta) ** 2, torch.sin(0.5 * beta) ** 2
    corner_cos, corner_sin, edge = torch.ones_like(beta), torch.ones_like(beta), torch.ones_like(beta)
    previous, current = torch.zeros_like(cos_beta), torch.ones_like(cos_beta)
    yield current
    for l in range(lmax):
        order = torch.arange(-l, l + 1, dtype=torch.float64, device=beta.device)
        root_next = torch.sqrt((l + 1) ** 2 - order**2)
        root = torch.sqrt((l + 1) / max(l, 1) * (l**2 - order**2))
        step = (2 * l + 1) * ((l + 1) * cos_beta - torch.outer(order, order) / max(l, 1)) * current
        step = (step - torch.outer(root, root) * previous) / torch.outer(root_next, root_next)

        # d^{l+1}_{l+1,n} is d^l_{l,n} times the ratio of the seeds, which has no binomials
        edge = edge * (-0.5 * math.sqrt((2 * l + 2) * (2 * l + 1)) * sin_beta) / root_next
        corner_cos, corner_sin = corner_cos * cos_squared, corner_sin * sin_squared
        edge = torch.cat([corner_sin, edge, corner_cos], dim=-1)
        signed_edge = edge * (1 - 2 * (torch.arange(2 * l + 3, device=beta.device) % 2))

        previous, current = F.pad(current, (1, 1, 1, 1)), F.pad(step, (1, 1, 1, 1))
        # the row m = l + 1 gives the other three sides by d_mn = (-1)^(m-n) d_nm = d_-n,-m
        current[..., -1, :] = edge
        current[..., 0, :] = signed_edge.flip(-1)
        current[..., :, -1] = signed_edge
        current[..., :, 0] = edge.flip(-1)
        yield current


def wigner_d(l: int, beta: Float[Tensor, "*batch"]) -> Float64[Tensor, "*batch 2*{l}+1 2*{l}+1"]:
    """Return the matrix d^l_mn(beta) of one degree, by recurrence from degree 0.

    Args:
        l: degree.
        beta: radians, any real values; computed in float64 whatever its dtype.

    Returns:
        matrices with rows m and columns n from -l to l.

    Raises:
        GroupError: l is negative.

    >>> d = wigner_d(1, torch.tensor(torch.pi / 2, dtype=torch.float64))
    >>> [[round(v, 4) + 0.0 for v in row] for row in d.tolist()]
    [[0.5, 0.7071, 0.5], [-0.7071, 0.0, 0.7071], [0.5, -0.7071, 0.5]]
    """
    return deque(wigner_d_matrices(l, beta), maxlen=1).pop()


def wigner_D(l: int, rotation: Float[Tensor, "*batch 3 3"]) -> Complex128[Tensor, "*batch 2*{l}+1 2*{l}+1"]:
    """Return the matrix D^l_mn(R) = e^{-i m alpha} d^l_mn(beta) e^{-i n gamma} of degree l.

    D is a unitary representation: D(R S) = D(R) D(S). Rows m and columns n run from -l to l.

    Raises:
        GroupError: l is negative, or rotation is not made of 3 by 3 rotations.

    >>> bool(torch.isclose(wigner_D(3, torch.eye(3)), torch.eye(7, dtype=torch.complex128)).all())
    True
    """
    alpha, beta, gamma = zyz_from_matrix(rotation)
    order = torch.arange(-l, l + 1, dtype=torch.float64, device=beta.device)
    left, right = (torch.exp(-1j * order * angle.unsqueeze(-1)) for angle in (alpha, gamma))
    return left.unsqueeze(-1) * wigner_d(l, beta) * right.unsqueeze(-2)


def rotate_coefficients(
    alm: Complex[Tensor, "*#batch degrees orders"], rotation: Float[Tensor, "*#batch 3 3"]
) -> Complex[Tensor, "*batch degrees orders"]:
    """Return the coefficients of the rotated function (R f)(p) = f(R^-1 p), exactly, without a grid.

    A function of spin s is rotated as a field: its frame components move with the frames. A rotation by R and
    then by S is one by S R. The result is differentiable in alm, has its dtype and is computed in double
    precision.

    Args:
        alm: [..., lmax + 1, lmax + 1] of a real function, orders 0 <= m <= l, or [..., lmax + 1, 2 lmax + 1]
            of a function of any spin, -l <= m <= l (`geocnn.harmonics.sht`).
        rotation: leading dimensions broadcast with those of alm.

    Raises:
        MapError: alm is not complex or has neither shape.
        GroupError: rotation is not made of 3 by 3 matrices that are rotations.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1.0                                                       # z, up to a factor
    >>> z_to_x = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    >>> rotate_coefficients(alm, z_to_x)[1].real.round(decimals=4).abs().tolist()
    [0.0, 0.7071]
    """
    lmax = alm.shape[-2] - 1 if alm.ndim >= 2 else -1
    real_function = alm.shape[-1:] == (lmax + 1,)
    if not alm.is_complex() or not (real_function or alm.shape[-1:] == (2 * lmax + 1,)):
        raise MapError(
            f"alm is {alm.dtype} of shape {tuple(alm.shape)}; "
            "give complex [..., lmax + 1, lmax + 1] or [..., lmax + 1, 2 lmax + 1]"
        )
    full = alm.to(torch.complex128)
    full = _both_signs(full) if real_function else full
    alpha, beta, gamma = zyz_from_matrix(rotation.to(alm.device))
    order = torch.arange(-lmax, lmax + 1, dtype=torch.float64, device=alm.device)
    full = torch.view_as_real(full * torch.exp(-1j * order * gamma[..., None, None]))
    rows = []
    for l, d in enumerate(wigner_d_matrices(lmax, beta)):
        row = d @ full[..., l, lmax - l : lmax + l + 1, :]
        rows.append(F.pad(torch.view_as_complex(row), (lmax - l, lmax - l)))
    rotated = torch.stack(rows, dim=-2) * torch.exp(-1j * order * alpha[..., None, None])
    return (rotated[..., lmax:] if real_function else rotated).to(alm.dtype)


def _both_signs(
    alm: Complex[Tensor, "*batch degrees degrees"],
) -> Complex[Tensor, "*batch degrees 2*degrees-1"]:
    """Return a real function's orders -lmax .. lmax from those m >= 0, by a_{l,-m} = (-1)^m conj(a_lm)."""
    positive = alm[..., 1:]
    sign = 1 - 2 * (torch.arange(1, alm.shape[-1], device=alm.device) % 2)
    return torch.cat([(sign * positive.conj()).flip(-1), alm[..., :1].real.to(alm.dtype), positive], dim=-1)


def _seed(m: Tensor, n: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Return sign and log magnitude of d^L_mn(beta) at the first degree L = max(|m|, |n|)."""
    plus, minus = (m + n).abs(), (m - n).abs()
    # the logarithm of the exact integer is correct to an ulp; differences of lgamma would lose three digits
    exponents = zip(plus.flatten().tolist(), minus.flatten().tolist(), strict=True)
    half_logs = [0.5 * math.log(math.comb(p + q, q)) for p, q in exponents]
    half_log_binomial = torch.tensor(half_logs, dtype=torch.float64, device=beta.device).reshape(m.shape)
    cos, sin = torch.cos(0.5 * beta), torch.sin(0.5 * beta)
    sign = torch.sign(cos) ** plus * torch.sign(torch.where(m > n, -sin, sin)) ** minus
    log_magnitude = half_log_binomial + torch.xlogy(plus, cos.abs()) + torch.xlogy(minus, sin.abs())
    return sign, log_magnitude


def _check_degree(lmax: int) -> None:
    if lmax < 0:
        raise GroupError(f"the degree {lmax} is negative; harmonic degrees are 0, 1, 2, ...")
