"""From equivariance to weight sharing: the linear maps that commute with a group, and a way to make any map
equivariant.

A group acts on the values at n places by matrices ρ(g) or, where it only moves places, by permutations:
perm[g, j] is the place to which g takes place j, and (g·x)[perm[g, j]] = x[j].

    all linear maps that commute                intertwiners(rho_in, rho_out)
    any map, applied to all transformed copies  orbit_equivariant(f, group)

For translations both are convolutions: that is why neural networks share weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float64, Int64, Real
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.groups.planar import Group
from geocnn.groups.planar import group as named_group

ZERO, APPARENT = 1e-10, 1e-5
"""Singular values up to the first, relative to the largest, belong to commuting maps, whose rounding is some
1e-15 in float64. Those above the second do not. Between the two the answer is unknown: generators in single
precision give 1e-7.
"""


def intertwiners(rho_in: Real[Tensor, "g n n"], rho_out: Real[Tensor, "g m m"]) -> Float64[Tensor, "k m n"]:
    """Return a basis of all linear maps W with rho_out(g) W = W rho_in(g): the null space of the equations.

    The basis is orthonormal as vectors of m·n numbers. Time grows like (m n)³: 1,000 unknowns take seconds.

    Args:
        rho_in: matrices of generators of the group, or of all its elements.
        rho_out: matrices of the same generators.

    Raises:
        GroupError: shapes do not fit, numbers are not real or not finite, or singular values lie where
            rounding and a broken symmetry look alike.

    >>> shift = torch.eye(5).roll(1, 0)[None]  # generates the shifts of five places on a circle
    >>> intertwiners(shift, shift).shape, intertwiners(torch.ones(1, 1, 1), shift).shape
    (torch.Size([5, 5, 5]), torch.Size([1, 5, 1]))
    """
    for name, rho in (("rho_in", rho_in), ("rho_out", rho_out)):
        if rho.ndim != 3 or rho.shape[1] != rho.shape[2]:
            raise GroupError(f"{name} is {list(rho.shape)}; give one square matrix per generator, [G, n, n]")
        if rho.is_complex() or not bool(rho.isfinite().all()):
            raise GroupError(
                f"{name} must hold real, finite numbers; for complex ones give real and imaginary parts"
            )
    if len(rho_in) != len(rho_out) or not len(rho_in):
        raise GroupError(
            f"rho_in has {len(rho_in)} matrices, rho_out {len(rho_out)}; give both for the same generators"
        )
    # torch.kron requires contiguous matrices
    a, b = (rho.to(torch.float64).contiguous() for rho in (rho_in, rho_out))
    n, m = a.shape[1], b.shape[1]
    one_in, one_out = (torch.eye(k, dtype=a.dtype, device=a.device) for k in (n, m))
    # row by row as a vector, ρ_out W is (ρ_out ⊗ 1) W and W ρ_in is (1 ⊗ ρ_inᵀ) W
    equations = [
        torch.kron(left, one_in) - torch.kron(one_out, right.mT.contiguous())
        for right, left in zip(a, b, strict=True)
    ]
    _, singular, vh = torch.linalg.svd(torch.cat(equations), full_matrices=False)
    size = max(1.0, float(singular.max()))
    unclear = singular[(singular > ZERO * size) & (singular < APPARENT * size)]
    if len(unclear):
        raise GroupError(
            f"singular value {float(unclear.max()):.1e} of the equations is neither rounding in float64 nor "
            "clearly more; compute the generators in float64"
        )
    return vh[singular <= ZERO * size].unflatten(1, (m, n))


def permutation_matrices(permutations: Int64[Tensor, "g n"]) -> Float64[Tensor, "g n n"]:
    """Return the matrices by which permutations act on values at n places.

    >>> permutation_matrices(torch.tensor([[1, 2, 0]]))[0] @ torch.tensor([5.0, 6.0, 7.0]).double()
    tensor([7., 5., 6.], dtype=torch.float64)
    """
    return torch.nn.functional.one_hot(permutations, permutations.shape[1]).mT.to(torch.float64)


def generated(generators: Int64[Tensor, "g n"]) -> Int64[Tensor, "order n"]:
    """Return all elements of the group that permutations generate, the identity first.

    >>> len(generated(torch.tensor([[1, 0, 2], [1, 2, 0]])))
    6
    """
    identity = torch.arange(generators.shape[1], device=generators.device)
    elements = {tuple(identity.tolist()): identity}
    front = [identity]
    while front:
        after = torch.cat([g[torch.stack(front)] for g in generators])
        front = [elements.setdefault(k, p) for p in after if (k := tuple(p.tolist())) not in elements]
    return torch.stack(list(elements.values()))


def grid_symmetries(shape: Sequence[int], group: Group | str = "trivial") -> Int64[Tensor, "g n"]:
    """Return permutations of a cyclic grid's places (last axis fastest) that generate its symmetries.

    They are shifts by one along each axis, and on grids of two axes also the rotation and the flip of `group`
    about place 0, for example C4 or D4 on square ones.

    Raises GroupError for a group that does not map the grid to itself.

    >>> len(generated(grid_symmetries((3, 5)))), len(generated(grid_symmetries((3, 3), "D4")))
    (15, 72)
    """
    g, places = named_group(group), torch.arange(torch.Size(shape).numel()).view(*shape)
    generators = [places.roll(-1, axis) for axis in range(len(shape))]
    if (g.rotations, g.flips) != (1, False):
        if len(shape) != 2 or g.rotations not in (1, 2, 4) or (g.rotations == 4 and shape[0] != shape[1]):
            raise GroupError(
                f"{g} does not map a cyclic grid of {tuple(shape)} places to itself; use C4 or D4 on squares "
                "and C2, D2 or reflection on other grids of two axes"
            )
        y, x = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
        if g.rotations == 4:
            generators.append(places[x, -y])
        elif g.rotations == 2:
            generators.append(places[-y, -x])
        if g.flips:
            generators.append(places[-y, x])
    return torch.stack(generators).flatten(1)


Values = TypeVar("Values")


def orbit_equivariant(
    f: Callable[[Tensor], Values], group: Int64[Tensor, "order n"]
) -> Callable[[Tensor], Values]:
    """Return F(x)_g = f(g⁻¹ x): f applied to all transformed copies of its input, with one answer per copy.

    F is equivariant whatever f is: F(h·x)_g = F(x)_{h⁻¹g}. With shifts and f linear it is a convolution.

    Args:
        f: takes values [..., n], all copies at once: it treats leading axes as a batch.
        group: every element as a permutation of the n places (`generated`).

    Returns:
        a function that takes x [..., n] and returns f of the copies [..., |G|, n]; it raises GroupError for
        another number of values.

    >>> shifts = generated(grid_symmetries((5,)))
    >>> edges = orbit_equivariant(lambda x: torch.relu(x[..., 1] - x[..., 0]), shifts)
    >>> edges(torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0]))
    tensor([0., 1., 0., 0., 0.])
    """

    def lifted(x: Tensor) -> Values:
        if x.ndim == 0 or x.shape[-1] != group.shape[1]:
            raise GroupError(
                f"the group moves {group.shape[1]} places, but x is {list(x.shape)}; give one value per place"
            )
        return f(x[..., group])  # (g⁻¹x)[j] = x[perm[g, j]]

    return lifted
