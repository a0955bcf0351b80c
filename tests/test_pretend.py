"""The pretend device refuses what a real one refuses, and computes what the CPU computes."""

import pytest
import torch
from torch import nn

from tests.pretend import DEVICE, MixedDevices, PretendTensor, pretending


def test_tensors_left_on_the_cpu_are_refused():
    with pretending():
        x, left = torch.arange(3.0, device=DEVICE), torch.ones(3)
        for mixed in (lambda: x + left, lambda: torch.cat([x, left]), lambda: x.index_add(0, x.long(), left)):
            with pytest.raises(MixedDevices, match="a CPU tensor of shape"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()


def test_scalars_and_indices_may_lie_anywhere():
    with pretending():
        x = torch.arange(3.0, device=DEVICE)
        found = x[torch.tensor([2, 0])] * torch.tensor(2.0) + 1
        x[[0, 1]] = 5.0
        assert found.device == DEVICE and found.cpu().tolist() == [5.0, 1.0] and x.tolist() == [5.0, 5.0, 2.0]
        assert type(found.cpu()) is torch.Tensor and float(x.sum()) == 12


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_everything_made_or_moved_there_is_there(mode):
    with pretending(), mode():
        x = torch.ones(2, 3).to(DEVICE, torch.float64)
        made = [x, x.T, x.new_zeros(2), torch.tensor([1], device=DEVICE), torch.rand(2, device=x.device)]
        made += [torch.as_tensor([1.0], device=DEVICE), x.new_tensor([1.0]), torch.fft.rfft(x).conj()]
        assert all(isinstance(t, PretendTensor) and t.device == DEVICE for t in made)


def test_a_network_trains_there_as_on_the_cpu():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(5, 3)
    network(x).square().sum().backward()
    expected = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    with pretending():
        network.to(DEVICE)
        network(x.to(DEVICE)).square().sum().backward()
        for parameter, gradient in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad.cpu(), gradient)


def test_autocast_rounds_products_there():
    with pretending(), torch.autocast(DEVICE.type, torch.bfloat16):
        x = torch.rand(3, 3, device=DEVICE)
        assert (x @ x).dtype == torch.bfloat16 and (x + x).dtype == torch.float32
