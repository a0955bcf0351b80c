"""`torch.func` goes through every layer, network and transform: grad, jvp, vmap, jacrev, and what is made of
them, gives what autograd gives.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, vmap

from geocnn import harmonics
from geocnn.harmonics import gauss_legendre, healpix_grid
from tests.nn.every_layer import SUBJECTS

# these make or convert a module at every call
IN_PARTS = {"GaugeConv, harmonic twin", "to_full"}
NAMES = [name for name in SUBJECTS if name not in IN_PARTS]
Function = Callable[[Tensor], Tensor]


def module_of(name: str, training: bool) -> tuple[nn.Module, tuple]:
    torch.manual_seed(0)
    where = SUBJECTS[name].geometry(torch.device("cpu"), torch.float64)
    return SUBJECTS[name].build().double().train(training), where


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_close(a: Tensor, b: Tensor) -> None:
    # sums of some hundred float64 terms in another order
    assert (a - b).norm() <= 1e-9 * b.norm().clamp_min(1e-3)


def assert_derivatives(f: Function, x: Tensor) -> None:
    x = x.requires_grad_()
    y = f(x)
    direction, weight = draw(*x.shape, seed=1), draw(*y.shape, seed=2)
    (expected,) = torch.autograd.grad((y * weight).sum(), x)
    x = x.detach()
    assert_close(grad(lambda x: (f(x) * weight).sum())(x), expected)
    value, change = jvp(f, (x,), (direction,))
    assert_close(value, y.detach())
    assert_close((change * weight).sum(), (expected * direction).sum())


@pytest.mark.parametrize("name", NAMES)
def test_grad_and_jvp_in_training(name):
    module, where = module_of(name, True)

    def f(x: Tensor) -> Tensor:
        # what dropout draws
        torch.manual_seed(1)
        return module(x, *where)

    assert_derivatives(f, draw(2, *SUBJECTS[name].shape))


@pytest.mark.parametrize("name", NAMES)
def test_vmap_and_jacrev(name):
    module, where = module_of(name, False)
    x = draw(2, *SUBJECTS[name].shape)

    def f(x: Tensor) -> Tensor:
        return module(x, *where)

    expected = f(x)
    assert_close(vmap(f)(x[:, None])[:, 0], expected)
    rows = jacrev(lambda x: f(x).flatten()[:3])(x)
    direction = draw(*x.shape, seed=1)
    change = jvp(f, (x,), (direction,))[1].flatten()[:3]
    assert_close(rows.flatten(1) @ direction.flatten(), change)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_each_example_and_second_derivatives(name):
    module, where = module_of(name, False)
    x, weights = draw(2, *SUBJECTS[name].shape), dict(module.named_parameters())

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, weights, (x[None], *where)).square().sum()

    if weights:
        together = vmap(grad(loss), in_dims=(None, 0))(weights, x)
        alone = [grad(loss)(weights, example) for example in x]
        for key, values in together.items():
            assert_close(values, torch.stack([one[key] for one in alone]))
    point = x[0].requires_grad_()
    direction = draw(*point.shape, seed=1)
    (first,) = torch.autograd.grad(loss(weights, point), point, create_graph=True)
    (second,) = torch.autograd.grad((first * direction).sum(), point)
    assert_close(jvp(grad(lambda x: loss(weights, x)), (x[0].detach(),), (direction,))[1], second)


def test_statistics_are_tracked_inside_of_transforms():
    from geocnn.nn import FieldNorm

    plain = FieldNorm("2x0 + 1x1").double()
    inside, mapped = copy.deepcopy(plain), copy.deepcopy(plain)
    x = draw(3, 20, 4) + 1
    plain(x)
    grad(lambda x: inside(x).sum())(x)
    vmap(mapped)(x)
    assert torch.equal(inside.running_mean, plain.running_mean)
    assert torch.equal(inside.running_power, plain.running_power)
    # examples of one size: the mean of their means is the mean of all
    assert_close(mapped.running_mean, plain.running_mean)


GRIDS = pytest.mark.parametrize("grid", [gauss_legendre(5, 9), healpix_grid(2)], ids=repr)


@GRIDS
@pytest.mark.parametrize("spin", [None, 0, 2])
def test_transforms_of_the_sphere(grid, spin):
    lmax = 3

    def f(x: Tensor) -> Tensor:
        """Values of real and imaginary parts [2, n], their coefficients, and values again."""
        values = x[0] if spin is None else torch.complex(x[0], x[1])
        alm = harmonics.analysis(values, grid, lmax, spin)
        again = harmonics.synthesis(alm, grid, spin)
        parts = [torch.view_as_real(alm).flatten(), again.real, again.imag if spin is not None else again]
        return torch.cat(parts)

    x = draw(2, grid.n_points)
    assert_derivatives(f, x)
    batch = draw(3, 2, grid.n_points)
    assert_close(vmap(f)(batch), torch.stack([f(one) for one in batch]))
    direction = draw(*x.shape, seed=1)
    assert_close(jacrev(f)(x).flatten(1) @ direction.flatten(), jvp(f, (x,), (direction,))[1])


@GRIDS
def test_transforms_of_the_rotation_group(grid):
    def f(x: Tensor) -> Tensor:
        alm = harmonics.so3_analysis(x, grid, 3, 1)
        return harmonics.so3_synthesis(alm, grid, 4)

    assert_derivatives(f, draw(grid.n_points, 4))
    batch = draw(3, grid.n_points, 4)
    assert_close(vmap(f)(batch), torch.stack([f(one) for one in batch]))
