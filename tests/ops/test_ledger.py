"""The ledger counts bytes that are alive, once, and the operations of products."""

from __future__ import annotations

import pytest
import torch

from geocnn.ops.ledger import Ledger, Work
from tests.measured import peak


def test_views_count_once_and_what_is_dropped_counts_no_more():
    x = torch.zeros(10)
    with Ledger() as ledger:
        ledger.ignore(x)
        y = x.view(2, 5).T + 1
        z = y.T[0]
        assert ledger.alive == 40
        del y
        assert ledger.alive == 40
        del z
    assert (ledger.alive, ledger.peak) == (0, 40)


@pytest.mark.parametrize(
    "function",
    [
        lambda: torch.unique(torch.arange(100_000) % 50_000, return_inverse=True),
        lambda: torch.arange(100_000).flip(0).sort(),
        lambda: torch.arange(100_000).roll(9).argsort(stable=True),
        lambda: (torch.ones(300, 200) @ torch.ones(200, 300)).exp().sum(),
    ],
)
def test_the_peak_is_what_the_allocator_counts(function):
    """To within 5 %: small numbers inside of operators are not seen."""
    with Ledger() as ledger:
        function()
    assert ledger.peak == pytest.approx(peak(function), rel=0.05)


def test_the_operations_of_products():
    with Ledger() as ledger:
        torch.ones(3, 4) @ torch.ones(4, 5)
        torch.ones(3, 4, dtype=torch.complex64) @ torch.ones(4, 5, dtype=torch.complex64)
    assert ledger.operations == 2 * 60 + 8 * 60


def test_a_fourier_transform_takes_5_n_log_n():
    with Ledger() as ledger:
        torch.fft.fft(torch.ones(7, 16, dtype=torch.complex64))
        torch.fft.irfft(torch.fft.rfft(torch.ones(7, 16)))
    assert ledger.operations == 2 * 7 * 5 * 16 * 4


def test_what_operators_leave_stays():
    with Ledger(lambda func, given, results: Work(scratch=50, left=100, operations=7)) as ledger:
        torch.zeros(10)
    assert (ledger.alive, ledger.left, ledger.later, ledger.peak) == (0, 100, 90, 190)
    assert ledger.operations == 7


def test_making_is_done_before_the_results_are_there():
    with Ledger(lambda func, given, results: Work(making=60, left=10)) as ledger:
        t = torch.zeros(10)
        assert ledger.peak == 60
        torch.zeros(5)
    assert ledger.peak == 40 + 10 + 60
    del t


def test_results_that_stay_are_part_of_what_is_left():
    with Ledger(lambda func, given, results: Work(left=40, stays=True)) as ledger:
        torch.zeros(10)
    assert (ledger.alive, ledger.left, ledger.later, ledger.peak) == (0, 40, 0, 40)
