"""The patterns of well-known image networks, small: shortcuts, concatenations, padded pooling, gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Shortcut(nn.Module):
    """Two convolutions and a way around them (He et al. 2016), by 1 x 1 convolutions where sizes differ."""

    def __init__(self, a: int, b: int, stride: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(a, b, 3, stride, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True),
            nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b),
        )  # fmt: skip
        self.around = nn.Identity() if stride == 1 and a == b else nn.Conv2d(a, b, 1, stride)

    def forward(self, x):
        y = self.body(x)
        y += self.around(x)
        return F.relu(y, inplace=True)


class Cropped(nn.Module):
    """A shortcut around an unpadded convolution, cut to its size (Brendel & Bethge 2019)."""

    def __init__(self, a: int):
        super().__init__()
        self.conv = nn.Conv2d(a, a, 3)

    def forward(self, x):
        y = self.conv(x)
        if x.size(-1) != y.size(-1):
            cut = x.size(-1) - y.size(-1)
            x = x[:, :, :-cut, :-cut]
        y += x
        return y.relu()


class Strided(nn.Module):
    """A shortcut without weights: every second pixel, zero channels added."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.conv, self.more = nn.Conv2d(a, b, 3, 2, padding=1), b - a

    def forward(self, x):
        return self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))


class Dense(nn.Module):
    """Each layer sees all before it (Huang et al. 2017)."""

    def __init__(self, a: int, growth: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(a + k * growth, growth, 3, padding=1) for k in range(layers))

    def forward(self, x):
        seen = [x]
        for layer in self.layers:
            seen.append(layer(torch.cat(seen, 1)).relu())
        return torch.cat(seen, 1)


class Branches(nn.Module):
    """Windows of several kinds beside each other (Szegedy et al. 2016)."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.wide = nn.Sequential(
            nn.Conv2d(a, b, (1, 5), padding=(0, 2)), nn.Conv2d(b, b, (5, 1), padding=(2, 0))
        )
        self.small, self.dilated = nn.Conv2d(a, b, 1), nn.Conv2d(a, b, 3, padding="same", dilation=2)

    def forward(self, x):
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        largest = F.max_pool2d(x, 3, stride=1, padding=1)
        return torch.cat([self.wide(x), self.small(pooled), self.dilated(x), largest], dim=1)


class Gate(nn.Module):
    """Channels weighed by their mean over the image (Hu et al. 2018)."""

    def __init__(self, a: int):
        super().__init__()
        self.down, self.up = nn.Conv2d(a, 2, 1), nn.Conv2d(2, a, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Shuffled(nn.Module):
    """Half of the channels pass, and all change places (Ma et al. 2018)."""

    def __init__(self, a: int):
        super().__init__()
        self.conv = nn.Conv2d(a // 2, a // 2, 3, padding=1, groups=a // 2)

    def forward(self, x):
        first, second = x.chunk(2, dim=1)
        y = torch.cat((first, self.conv(second)), dim=1)
        batch, channels, height, width = y.size()
        y = y.view(batch, 2, channels // 2, height, width)
        return torch.transpose(y, 1, 2).contiguous().view(batch, channels, height, width)


class ChannelsLast(nn.Module):
    """A block that norms and mixes channels as the last dimension (Liu et al. 2022)."""

    def __init__(self, a: int):
        super().__init__()
        self.conv = nn.Conv2d(a, a, 7, padding=3, groups=a)
        self.norm, self.mix = (
            nn.LayerNorm(a),
            nn.Sequential(nn.Linear(a, a), nn.GELU(), nn.Linear(a, a)),
        )
        self.scale = nn.Parameter(torch.full((a, 1, 1), 0.5))

    def forward(self, x):
        y = self.mix(self.norm(self.conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x + self.scale * y


class UNet(nn.Module):
    """Down, up again, and both joined (Ronneberger et al. 2015)."""

    def __init__(self, a: int, mode: str):
        super().__init__()
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(a, a, 3, padding=1), nn.ReLU())
        self.up = nn.Upsample(scale_factor=2, mode=mode)
        self.join = nn.Conv2d(2 * a, a, 3, padding=1)

    def forward(self, x):
        return self.join(torch.cat([x, self.up(self.down(x))], 1))


PATTERNS = {
    "shortcuts": lambda: [Shortcut(2, 4), nn.MaxPool2d(3, 2, padding=1), Shortcut(4, 4), Shortcut(4, 6, 2)],
    "cropped shortcuts": lambda: [Cropped(2), nn.Conv2d(2, 4, 3, stride=2), Cropped(4)],
    "shortcuts without weights": lambda: [Strided(2, 4), nn.ReLU(), Strided(4, 6)],
    "dense": lambda: [Dense(2, 3, 3), nn.AvgPool2d(2), Dense(11, 2, 2)],
    "branches": lambda: [Branches(2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), Branches(11, 2)],
    "shuffled": lambda: [nn.Conv2d(2, 4, 3, 2, padding=1), Shuffled(4), nn.Hardswish(True), Shuffled(4)],
    "channels last": lambda: [nn.Conv2d(2, 4, 4, 4), ChannelsLast(4), ChannelsLast(4)],
    "U-Net": lambda: [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), UNet(4, "nearest")],
    "U-Net, bilinear": lambda: [nn.Conv2d(2, 4, 3, padding=1), nn.SiLU(), UNet(4, "bilinear")],
    "padding layers": lambda: [
        *[nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 4, 3, 2), nn.ReLU()],
        *[nn.ReflectionPad2d(1), nn.Conv2d(4, 4, 3), nn.Sigmoid()],
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    ],
    "places to channels": lambda: [nn.PixelUnshuffle(2), nn.Conv2d(8, 4, 3, padding=1), Shortcut(4, 4)],
    "weight norm": lambda: [
        *[nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), nn.LocalResponseNorm(2)],
        *[nn.Softsign(), Shortcut(4, 4)],
    ],
}  # fmt: skip

OWN_STATISTICS = {
    "gates": lambda: [Gate(2), nn.Conv2d(2, 4, 3, padding=1), nn.SiLU(), Gate(4), Shortcut(4, 4)],
    "group norm": lambda: [nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 4, 3)],
    "instance norm": lambda: [nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 4, 3)],
}
"""Whose pixels depend on the whole image, and so on its size."""
