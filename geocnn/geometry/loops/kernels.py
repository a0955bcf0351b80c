"""Kernels on scalar fields, without a feature type that absorbs the frame: their transport along paths, and
which of them the holonomy leaves unchanged.

A kernel at p is a function k of tangent vectors there. Transport Γ from p to q takes it to the kernel (Γk)(v)
= k(Γ⁻¹v) at q. Two paths from p to q give the same kernel exactly if k is invariant under the holonomy of the
loop that they form. A kernel that has the same meaning everywhere is therefore invariant under the holonomy
group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.groups.irrep import Irrep
from geocnn.groups.planar import Element, Group, act, inverse
from geocnn.groups.radial import Cosine
from geocnn.groups.steerable import AngularBasis, steerable_basis
from geocnn.lasting import one_thread

Kernel = Callable[[Tensor], Tensor]


def transport_kernel(kernel: Kernel, element: Element) -> Kernel:
    """Return the kernel v ↦ k(Γ⁻¹v) for a kernel k of vectors [..., 2] and one element Γ = (angle, flip), as
    `transport` returns it.

    Law: transport by h and then by g is transport by g∘h.

    >>> east, quarter = lambda v: v[..., 0], (torch.tensor(torch.pi / 2), None)
    >>> transport_kernel(east, quarter)(torch.tensor([0.0, 1.0]))
    tensor(1.)
    """
    back = inverse(element)

    def transported(vectors: Tensor) -> Tensor:
        return kernel(torch.view_as_real(act(back, torch.view_as_complex(vectors.contiguous()))))

    return transported


def transport_coefficients(
    coefficients: Complex[Tensor, "*batch l"], element: Element
) -> Complex[Tensor, "*shape l"]:
    """Return the coefficients c_ℓ, ℓ from 0 on, of a kernel Σ_ℓ Re c_ℓ(r) e^{iℓθ} after transport by elements
    [...].

    They become e^{−iℓφ} c_ℓ, and with a flip e^{−iℓφ} c̄_ℓ.

    >>> transport_coefficients(torch.tensor([1j, 1j]), (torch.tensor(0.0), torch.tensor(True)))
    tensor([0.-1.j, 0.-1.j])
    """
    angle, flip = element
    phase = -angle[..., None] * torch.arange(coefficients.shape[-1], device=angle.device)
    return act((phase, None if flip is None else flip[..., None]), coefficients)


@dataclass(frozen=True)
class InvariantKernels:
    """A basis of kernels from scalars to scalars on the unit disc: angular functions times the `rings` radial
    functions of the layers. Reflections leave the direction `axis` fixed.
    """

    angular: AngularBasis
    rings: int
    axis: float

    @property
    def n_kernels(self) -> int:
        return len(self.angular.frequency) * self.rings

    def __call__(self, vectors: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch kernels"]:
        """Evaluate all kernels at vectors in units of the radius."""
        r = vectors.norm(dim=-1)
        angular = self.angular(torch.atan2(vectors[..., 1], vectors[..., 0]) - self.axis)[..., 0, 0]
        radial = [
            Cosine(self.rings)(r, int(frequency)) * angular[..., k, None]
            for k, frequency in enumerate(self.angular.frequency)
        ]
        return torch.cat(radial, -1)


@one_thread()
def invariant_kernels(
    group: Group, rings: int = 3, max_frequency: int = 4, axis: float = 0.0
) -> InvariantKernels:
    """Return the scalar kernels that a holonomy group leaves unchanged, up to an angular frequency.

    They are `steerable_basis` from scalar to scalar. C_N leaves cos ℓθ and sin ℓθ unchanged if N divides ℓ; a
    reflection leaves cos ℓ(θ − axis) unchanged, with the `axis` that `holonomy_group` returns; SO(2) and O(2)
    leave only ℓ = 0.

    Raises GroupError for fewer rings than one or a negative frequency.

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
