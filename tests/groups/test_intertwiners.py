"""Equivariance makes convolutions: what commutes with a group, found by a null-space solver and by storing
answers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from geocnn.errors import GroupError
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.groups import (
    FieldType,
    cyclic,
    dihedral,
    generated,
    grid_symmetries,
    intertwiners,
    orbit_equivariant,
    permutation_matrices,
    product_table,
)
from geocnn.groups.rotations import matrix_from_axis_angle, random_rotations
from geocnn.groups.wigner import rotate_coefficients

F64 = torch.float64


def assert_same_span(a: torch.Tensor, b: torch.Tensor) -> None:
    """Rows (flattened) of a and b are bases of one space."""
    a, b = a.flatten(1).to(F64), b.flatten(1).to(F64)
    assert len(a) == len(b)
    for rows, others in ((a, b), (b, a)):
        orthonormal = torch.linalg.qr(others.T).Q
        # entries of O(1) in some hundred dimensions
        torch.testing.assert_close(rows @ orthonormal @ orthonormal.T, rows, rtol=0, atol=1e-11)


def commutator(found: torch.Tensor, rho_in: torch.Tensor, rho_out: torch.Tensor) -> float:
    return float((rho_out[:, None] @ found - found @ rho_in[:, None]).abs().max())


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(0))


def on(generators: torch.Tensor, elements: torch.Tensor) -> torch.Tensor:
    """The generators' action on the group itself, h ↦ g∘h, as permutations of its elements: [G, |G|]."""
    number = {tuple(p.tolist()): k for k, p in enumerate(elements)}
    return torch.tensor([[number[tuple(g[h].tolist())] for h in elements] for g in generators])


# ----------------------------------------------------------------------------------------- the plane, wrapped


@pytest.mark.parametrize("shape", [(7,), (8,), (3, 5), (4, 4)], ids=str)
def test_linear_maps_that_commute_with_shifts_are_the_convolutions(shape):
    rho = permutation_matrices(grid_symmetries(shape))
    found = intertwiners(rho, rho)
    n = math.prod(shape)
    impulses = torch.eye(n, dtype=F64).view(n, *shape)
    taps = list(itertools.product(*map(range, shape)))
    axes = tuple(range(1, len(shape) + 1))
    circulant = torch.stack([impulses.roll(t, axes).flatten(1).T for t in taps])
    assert len(found) == n
    assert_same_span(found, circulant)


def test_the_basis_is_orthonormal_and_commutes():
    rho = permutation_matrices(grid_symmetries((4, 4), "D4"))
    found = intertwiners(rho, rho)
    torch.testing.assert_close(found.flatten(1) @ found.flatten(1).T, torch.eye(len(found), dtype=F64))
    assert commutator(found, rho, rho) < 1e-13


def test_equivariant_biases_are_constant():
    rho = permutation_matrices(grid_symmetries((3, 5)))
    found = intertwiners(torch.ones(2, 1, 1), rho)
    assert_same_span(found, torch.ones(1, 15))


def test_pointwise_nonlinearities_must_be_shared():
    # σ_j(x) = Σ_p a[j, p] x^p at place j: commuting with the shift is linear in a
    n, powers = 6, torch.arange(4)
    x = randn(40, n)
    monomials = x[..., None] ** powers  # [40, n, P]: the value of each basis nonlinearity at each place
    shift_after = torch.einsum("xjp,jk->xkjp", monomials, torch.eye(n, dtype=F64).roll(1, 1))
    shift_before = torch.einsum("xjp,jk->xkjp", monomials.roll(1, 1), torch.eye(n, dtype=F64))
    equations = (shift_after - shift_before).flatten(0, 1).flatten(1)
    _, singular, vh = torch.linalg.svd(equations)
    found = vh[singular < 1e-10]
    shared = torch.eye(4, dtype=F64)[:, None].expand(-1, n, -1)
    assert_same_span(found, shared)


def test_pooling_windows_must_be_shared():
    # all 15⁴ choices of a window for each of 4 places on a circle: those whose maximum commutes with shifts
    n = 4
    window = torch.tensor([[bool(k >> j & 1) for j in range(n)] for k in range(1, 2**n)])
    x = randn(20, n)

    def pooled(signal):
        return torch.where(window[:, None], signal, -math.inf).amax(-1)  # [15, 20]

    now, before = pooled(x), pooled(x.roll(1, 1))
    # place j + 1 with window w of the shifted signal must see what place j with window v saw
    fits = (before[:, None] == now[None]).all(-1)  # [w, v]
    a, b, c, d = torch.meshgrid(*[torch.arange(15)] * 4, indexing="ij")
    equivariant = fits[b, a] & fits[c, b] & fits[d, c] & fits[a, d]
    assert int(equivariant.sum()) == 15  # one for each window at the first place
    for i, j, k, l in equivariant.nonzero().tolist():
        shapes = {tuple(window[v].roll(-s).tolist()) for s, v in enumerate((i, j, k, l))}
        assert len(shapes) == 1


def test_linearity_is_equivariance_to_scaling():
    # pointwise maps on {±1, ±2, ±4, ±8, ±16} as vectors of values: those that commute with scaling by 2 ...
    places = torch.tensor([s * 2.0**k for s in (1, -1) for k in range(5)], dtype=F64)

    def maps_commuting_with(factor: float) -> torch.Tensor:
        rows = []
        for j, x in enumerate(places):
            for k in torch.nonzero(places == factor * x)[:, 0]:
                row = torch.zeros(10, dtype=F64)
                row[k], row[j] = 1, -factor
                rows.append(row)
        return torch.stack(rows)

    def solutions(equations: torch.Tensor) -> torch.Tensor:
        _, singular, vh = torch.linalg.svd(equations)
        rank = int((singular > 1e-10).sum())
        return vh[rank:]

    # ... are the rectifiers, with a slope on either side; with sign changes only the linear one is left
    rectifiers = torch.stack([places.relu(), (-places).relu()])
    assert_same_span(solutions(maps_commuting_with(2)), rectifiers)
    assert_same_span(solutions(torch.cat([maps_commuting_with(2), maps_commuting_with(-1)])), places[None])


# ----------------------------------------------------------------------------------- rotations and the fibre


def test_with_scalars_only_symmetric_kernels_remain_and_with_regular_fibres_all_do():
    generators = grid_symmetries((4, 4), "C4")
    elements = generated(generators)
    scalar = permutation_matrices(generators)
    regular = permutation_matrices(on(generators, elements))
    kernels = intertwiners(scalar, scalar)
    # one for each orbit of quarter turns about place 0: {0}, {(2, 2)}, {(0, 2), (2, 0)}, three of four
    assert (len(elements), len(kernels)) == (64, 6)
    for rows in kernels[:, 0].view(-1, 4, 4):
        turned = rows.rot90().roll((1,), (0,))  # a quarter turn about place 0
        torch.testing.assert_close(turned, rows, rtol=0, atol=1e-12)
    assert len(intertwiners(scalar, regular)) == 16  # lifting: any kernel on the grid


def test_on_the_sphere_only_zonal_kernels_remain_for_scalars():
    lmax = 3
    degrees, orders = torch.tril_indices(lmax + 1, lmax + 1)
    n = len(degrees)
    real = torch.cat([torch.arange(n), n + (orders > 0).nonzero()[:, 0]])  # m = 0 has no imaginary part
    basis = torch.zeros(2 * n, lmax + 1, lmax + 1, dtype=torch.complex128)
    basis[torch.arange(n), degrees, orders] = 1
    basis[n + torch.arange(n), degrees, orders] = 1j
    # two random rotations generate a dense subgroup of SO(3)
    rotations = random_rotations(2, torch.Generator().manual_seed(0))
    turned = rotate_coefficients(basis[real], rotations[:, None])[..., degrees, orders]
    rho = torch.cat([turned.real, turned.imag], -1)[..., real].mT
    degree = torch.cat([degrees, degrees])[real]
    zonal = torch.stack([torch.diag((degree == l).to(F64)) for l in range(lmax + 1)])
    assert len(real) == (lmax + 1) ** 2
    assert_same_span(intertwiners(rho, rho), zonal)


@pytest.fixture(scope="module")
def icosahedral() -> torch.Tensor:
    """Turns by 72° about two neighbouring vertices of an icosahedron, as permutations of its 12 vertices."""
    points = Icosahedron(0).points
    turns = matrix_from_axis_angle(points[[0, 2]], torch.full((2,), 2 * math.pi / 5, dtype=F64))
    distance = torch.cdist(points @ turns.mT, points[None])
    assert distance.amin(-1).max() < 1e-12
    return distance.argmin(-1)


def test_on_the_icosahedron_kernels_depend_on_the_distance_alone(icosahedral):
    points = Icosahedron(0).points
    rho = permutation_matrices(icosahedral)
    found = intertwiners(rho, rho)
    distance = (points @ points.T).round(decimals=6)
    zonal = torch.stack([(distance == d).to(F64) for d in distance.unique()])
    assert len(zonal) == 4
    assert_same_span(found, zonal)


def test_on_the_icosahedron_every_kernel_lifts_to_a_regular_fibre(icosahedral):
    elements = generated(icosahedral)
    regular = permutation_matrices(on(icosahedral, elements))
    found = intertwiners(permutation_matrices(icosahedral), regular)
    assert (len(elements), len(found)) == (60, 12)
    # ... and is the orbit of what one element sees: any of 12 values
    copies = orbit_equivariant(lambda x: x, elements)(torch.eye(12, dtype=F64))  # [impulse, g, place]
    assert_same_span(found, copies.permute(2, 1, 0))


@pytest.mark.parametrize("g", [cyclic(3), cyclic(4), dihedral(3), dihedral(4)], ids=str)
def test_schur_counts_maps_between_sums_of_irreps(g):
    # regular to regular: as many as elements; and as irreps: Σ multiplicities², doubled where complex
    angle, flip = g.elements()
    irreps = FieldType.regular(g).rho(angle, flip)
    regular = permutation_matrices(product_table(g))
    for rho_in, rho_out in ((regular, regular), (irreps, regular), (irreps, irreps)):
        found = intertwiners(rho_in, rho_out)
        assert len(found) == len(angle)
        assert commutator(found, rho_in, rho_out) < 1e-12


@pytest.mark.parametrize("g", [cyclic(5), cyclic(6), dihedral(1), dihedral(5), dihedral(6)], ids=str)
def test_the_product_table_is_the_groups(g):
    table = product_table(g)
    rho = FieldType.regular(g).rho(*g.elements())
    torch.testing.assert_close(rho[table], rho[:, None] @ rho[None], rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------- any map, by storing answers


def test_for_translations_it_is_a_convolution():
    shifts = generated(grid_symmetries((5, 6)))
    kernel = torch.zeros(5, 6, dtype=F64)
    kernel[:3, :3] = randn(3, 3)
    image = randn(5, 6).flip(0)
    found = orbit_equivariant(lambda x: (x * kernel.flatten()).sum(-1), shifts)(image.flatten())
    # the copy moved back by t shows place t at place 0
    at = shifts[:, 0]
    wrapped = F.pad(image[None, None], (0, 2, 0, 2), mode="circular")
    expected = F.conv2d(wrapped, kernel[None, None, :3, :3]).flatten()
    torch.testing.assert_close(found, expected[at], rtol=0, atol=1e-13)


@pytest.mark.parametrize("group", ["trivial", "C4", "D4"])
def test_whatever_is_stored_is_equivariant(group):
    generators = grid_symmetries((3, 3), group)
    elements = generated(generators)
    network = torch.nn.Sequential(torch.nn.Linear(9, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).to(F64)
    stored, x = orbit_equivariant(network, elements), randn(4, 9)
    regular = on(generators, elements)
    for g, on_answers in zip(generators, regular, strict=True):
        moved = torch.empty_like(x)
        moved[:, g] = x
        expected = torch.empty_like(stored(x))
        expected[:, on_answers] = stored(x)
        torch.testing.assert_close(stored(moved), expected, rtol=0, atol=1e-14)
        assert (stored(moved) - stored(x)).abs().max() > 1e-3  # it moves, it is not invariant
    invariant = stored(x).mean(-2)
    torch.testing.assert_close(stored(moved).mean(-2), invariant, rtol=0, atol=1e-14)


# ------------------------------------------------------------------------------------------------ bad input


def test_generators_in_single_precision_are_refused():
    angle = torch.tensor([1.0])
    rough = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], -1)
    exact = FieldType("1x1").rho(torch.tensor([1.0], dtype=F64))
    with pytest.raises(GroupError, match="float64"):
        intertwiners(rough.view(1, 2, 2), exact)


@pytest.mark.parametrize(
    ("rho_in", "rho_out", "message"),
    [
        (torch.ones(1, 2, 3), torch.ones(1, 2, 2), "rho_in is .*give one square matrix per generator"),
        (torch.ones(1, 2, 2), torch.ones(2, 2), "rho_out is .*give one square matrix per generator"),
        (torch.ones(1, 2, 2), torch.ones(2, 2, 2), "rho_in has 1 matrices, rho_out 2"),
        (torch.ones(0, 2, 2), torch.ones(0, 2, 2), "rho_in has 0 matrices"),
        # i and −i have no map between them; their real parts have
        (torch.tensor([[[1j]]]), torch.tensor([[[-1j]]]), "rho_in must hold real"),
        (torch.eye(2)[None], torch.full((1, 2, 2), math.nan), "rho_out must hold real, finite"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(rho_in, rho_out, message):
    with pytest.raises(GroupError, match=message):
        intertwiners(rho_in, rho_out)


def test_places_that_the_group_does_not_move_are_not_left_out_in_silence():
    stored = orbit_equivariant(lambda x: x.sum(-1), generated(grid_symmetries((4,))))
    for x in (torch.ones(2, 5), torch.ones(3), torch.ones(())):
        with pytest.raises(GroupError, match="the group moves 4 places"):
            stored(x)


@pytest.mark.parametrize(("shape", "group"), [((3, 4), "C4"), ((5,), "C2"), ((4, 4), "C8"), ((4, 4), "SO2")])
def test_groups_that_do_not_map_the_grid_to_itself_are_refused(shape, group):
    with pytest.raises(GroupError, match="does not map a cyclic grid"):
        grid_symmetries(shape, group)
