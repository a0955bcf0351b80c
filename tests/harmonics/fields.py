"""Random fields on the sphere by their coefficients, and how far two of them are apart."""

from __future__ import annotations

import torch

from geocnn.harmonics import random_coefficients


def fields(lmax: int, n: int, seed: int = 0) -> torch.Tensor:
    return random_coefficients(lmax, n, torch.Generator().manual_seed(seed))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


def spin_fields(lmax: int, n: int, spin: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    alm = torch.randn(n, lmax + 1, 2 * lmax + 1, dtype=torch.complex128, generator=generator)
    degree, order = torch.arange(lmax + 1)[:, None], torch.arange(-lmax, lmax + 1)
    return torch.where((order.abs() <= degree) & (degree >= abs(spin)), alm, 0)
