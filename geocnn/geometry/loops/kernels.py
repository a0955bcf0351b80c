"""Kernels on a surface without a feature type to absorb the frame: carried along paths, and those that the
holonomy leaves alone.

A kernel at p is a function k of tangent vectors there. Transport Γ from p to q carries it to
(Γk)(v) = k(Γ⁻¹v) at q. Two paths from p to q give one kernel exactly when k is invariant under the holonomy
of the loop they make: a kernel that is to mean the same everywhere is invariant under the holonomy group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.groups.irrep import Irrep
from geocnn.groups.planar import Element, Group, act, inverse
from geocnn.groups.steerable import AngularBasis, radial_basis, steerable_basis

Kernel = Callable[[Tensor], Tensor]


def transport_kernel(kernel: Kernel, element: Element) -> Kernel:
    """The kernel v ↦ k(Γ⁻¹v) for a kernel k of vectors [..., 2] and one element Γ = (angle, flip), as
    `transport` gives it.

    Law: carried by h, then by g, it is carried by g∘h.

    >>> east, quarter = lambda v: v[..., 0], (torch.tensor(torch.pi / 2), None)
    >>> transport_kernel(east, quarter)(torch.tensor([0.0, 1.0]))
    tensor(1.)
    """
    back = inverse(element)

    def carried(vectors: Tensor) -> Tensor:
        return kernel(torch.view_as_real(act(back, torch.view_as_complex(vectors.contiguous()))))

    return carried


def transport_coefficients(coefficients: Tensor, element: Element) -> Tensor:
    """The same for a kernel Σ_ℓ Re c_ℓ(r) e^{iℓθ}: its coefficients c [..., L + 1] (complex), ℓ from 0 to L,
    after transport by elements [...].

    c_ℓ ↦ e^{−iℓφ} c_ℓ, and for a flip e^{−iℓφ} c̄_ℓ.

    >>> transport_coefficients(torch.tensor([1j, 1j]), (torch.tensor(0.0), torch.tensor(True)))
    tensor([0.-1.j, 0.-1.j])
    """
    angle, flip = element
    phase = -angle[..., None] * torch.arange(coefficients.shape[-1], device=angle.device)
    return act((phase, None if flip is None else flip[..., None]), coefficients)


@dataclass(frozen=True)
class InvariantKernels:
    """A basis of kernels on the unit disc from scalars to scalars: angular functions times `rings` radial
    ones, those of the layers; reflections keep the direction `axis`.
    """

    angular: AngularBasis
    rings: int
    axis: float

    @property
    def n_kernels(self) -> int:
        return len(self.angular.frequency) * self.rings

    def __call__(self, vectors: Tensor) -> Tensor:
        """The kernels at vectors [..., 2], in units of the radius: [..., n_kernels]."""
        r = vectors.norm(dim=-1)
        angular = self.angular(torch.atan2(vectors[..., 1], vectors[..., 0]) - self.axis)[..., 0, 0]
        radial = [
            radial_basis(r, self.rings, int(frequency)) * angular[..., k, None]
            for k, frequency in enumerate(self.angular.frequency)
        ]
        return torch.cat(radial, -1)


def invariant_kernels(
    group: Group, rings: int = 3, max_frequency: int = 4, axis: float = 0.0
) -> InvariantKernels:
    """The scalar kernels that a holonomy group leaves alone, up to an angular frequency: `steerable_basis`
    from scalar to scalar.

    `axis`: the direction a reflection keeps, as `holonomy_group` finds it. cos ℓθ and sin ℓθ survive C_N
    where N divides ℓ, and of them cos ℓ(θ − axis) a reflection; of SO(2) and O(2) only ℓ = 0.

    Raises GroupError for no rings or a negative frequency.

    >>> from geocnn.groups import cyclic, dihedral
    >>> invariant_kernels(cyclic(4)).angular.frequency.tolist()
    [0, 4, 4]
    >>> invariant_kernels(dihedral(2)).angular.frequency.tolist()
    [0, 2, 4]
    """
    if rings < 1 or max_frequency < 0:
        raise GroupError(
            f"kernels need at least one ring and a frequency of 0 or more, got {rings} and {max_frequency}"
        )
    scalar = Irrep(0, "e" if group.flips else "")
    return InvariantKernels(steerable_basis(scalar, scalar, group, max_frequency), rings, axis)
