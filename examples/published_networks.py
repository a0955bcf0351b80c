"""BagNet-33, ResNet-18 and DenseNet-121 in short, with the parameter names of their published weights.

Their three ways to treat what comes before: added and cut to size, added, put beside (Brendel & Bethge 2019;
He et al. 2016; Huang et al. 2017). Each takes images [B, 3, rows, columns] and gives features, [B, channels].

python examples/published_networks.py      what each has and sees (seconds)
"""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from geocnn.errors import CheckpointError


def normed(a: int, b: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(a, b, kernel, stride, padding, bias=False), nn.BatchNorm2d(b)]


class Block(nn.Module):
    """Convolutions of (channels, kernel, padding), with a shortcut that is cut to their size."""

    def __init__(self, before: int, layers: list[tuple[int, int, int]], stride: int, strided: int):
        super().__init__()
        channels = before
        for k, (after, kernel, padding) in enumerate(layers, 1):
            conv, norm = normed(channels, after, kernel, stride if k == strided else 1, padding)
            self.add_module(f"conv{k}", conv)
            self.add_module(f"bn{k}", norm)
            channels = after
        self.n = len(layers)
        same = stride == 1 and before == channels
        self.downsample = None if same else nn.Sequential(*normed(before, channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for k in range(1, self.n + 1):
            y = self.get_submodule(f"bn{k}")(self.get_submodule(f"conv{k}")(y))
            y = y.relu() if k < self.n else y
        around = x if self.downsample is None else self.downsample(x)
        return (y + around[..., : y.shape[-2], : y.shape[-1]]).relu()


def stage(before: int, blocks: list[list[tuple[int, int, int]]], stride: int, strided: int) -> nn.Sequential:
    made = []
    for k, layers in enumerate(blocks):
        made.append(Block(before, layers, stride if k == 0 else 1, strided))
        before = layers[-1][0]
    return nn.Sequential(*made)


class ResNet18(nn.Module):
    """Sums, and a stem that halves the image twice."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.conv1, self.bn1 = normed(3, width, 7, 2, 3)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        before = width
        for k in range(4):
            after = width * 2**k
            layers = [(after, 3, 1), (after, 3, 1)]
            self.add_module(f"layer{k + 1}", stage(before, [layers] * 2, 1 + (k > 0), strided=1))
            before = after
        self.channels = before

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for k in range(1, 5):
            x = self.get_submodule(f"layer{k}")(x)
        return x.mean((2, 3))


class BagNet33(nn.Module):
    """A ResNet-50 whose later convolutions see one pixel, without padding."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 1, bias=False)
        self.conv2, self.bn1 = normed(width, width, 3)
        before = width
        for k, (count, stride) in enumerate(zip((3, 4, 6, 3), (2, 2, 2, 1), strict=True)):
            a = width * 2**k
            blocks = [[(a, 1, 0), (a, kernel, 0), (4 * a, 1, 0)] for kernel in [3] + [1] * (count - 1)]
            self.add_module(f"layer{k + 1}", stage(before, blocks, stride, strided=2))
            before = 4 * a
        self.channels = before

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv2(self.conv1(x))).relu()
        for k in range(1, 5):
            x = self.get_submodule(f"layer{k}")(x)
        return x.mean((2, 3))


class DenseLayer(nn.Module):
    """Puts what it makes beside what it was given."""

    def __init__(self, before: int, growth: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())
        return torch.cat([x, y], 1)


class DenseNet121(nn.Module):
    """Four blocks of dense layers, halved in between."""

    def __init__(self, growth: int = 32):
        super().__init__()
        channels = 2 * growth
        conv0, norm0 = normed(3, channels, 7, 2, 3)
        pool0 = nn.MaxPool2d(3, 2, padding=1)
        parts: dict[str, nn.Module] = {"conv0": conv0, "norm0": norm0, "relu0": nn.ReLU(), "pool0": pool0}
        for k, count in enumerate((6, 12, 24, 16), 1):
            layers = {f"denselayer{i + 1}": DenseLayer(channels + i * growth, growth) for i in range(count)}
            parts[f"denseblock{k}"] = nn.Sequential(OrderedDict(layers))
            channels += count * growth
            if k < 4:
                halved = nn.Conv2d(channels, channels // 2, 1, bias=False)
                steps = {"norm": nn.BatchNorm2d(channels), "relu": nn.ReLU(), "conv": halved}
                parts[f"transition{k}"] = nn.Sequential(OrderedDict(steps, pool=nn.AvgPool2d(2)))
                channels //= 2
        self.features = nn.Sequential(OrderedDict(parts, norm5=nn.BatchNorm2d(channels)))
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).relu().mean((2, 3))


PUBLISHED = {"BagNet-33": BagNet33, "ResNet-18": ResNet18, "DenseNet-121": DenseNet121}


def read_published(name: str, file: Path) -> nn.Module:
    """A network of any width with the weights of a file: safetensors, or a state dict kept by torch.save.

    The last linear layer is left out. Names may begin with "module.", and those of DenseNet may have their
    older form, "norm.1". Raises CheckpointError if the file cannot be read or holds other weights.
    """
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
        state = {k.removeprefix("module."): v for k, v in state.get("state_dict", state).items()}
        state = {re.sub(r"(norm|conv)\.(\d)", r"\1\2", k): v for k, v in state.items()}
        state = {k: v for k, v in state.items() if not k.startswith(("fc.", "classifier."))}
        first = next(v for v in state.values() if v.ndim == 4)
        network = PUBLISHED[name](len(first) // (2 if name == "DenseNet-121" else 1))
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, UnpicklingError, StopIteration, AttributeError) as error:
        raise CheckpointError(f"{file} holds no weights of {name}: {error}") from error
    return network


def receptive_field(network: nn.Module) -> int:
    """How many pixels along a side an answer sees, through the layers that no shortcut skips."""
    sees, step = 1, 1
    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) and "downsample" not in name:
            size, stride = (v[0] if isinstance(v, tuple) else v for v in (part.kernel_size, part.stride))
            sees, step = sees + (size - 1) * step, step * stride
    return sees


def main() -> None:
    for name, made in PUBLISHED.items():
        network = made()
        count = sum(p.numel() for p in network.parameters())
        print(
            f"{name}: {count:,} weights, {network.channels} features, {receptive_field(network)} pixels seen"
        )


if __name__ == "__main__":
    main()
