"""Two networks on the sphere, alike but for one layer: gates on tangent vectors, or ReLU on their components.

The report changes frames, numbers and the place on the sphere, on a grid and on a finer one, and asks every
layer by itself. What is left of the first network's errors is rounding, or falls with the point spacing; the
second one's does not, and the layer is named.

python examples/equivariance_report.py      prints both, saves runs/equivariance.html and .png (10 seconds)
"""

from pathlib import Path

import torch
from torch import nn

from geocnn.equivariance import report
from geocnn.equivariance.report_page import figure
from geocnn.geometry import healpix
from geocnn.groups import FieldType
from geocnn.nn import GaugeConv, NormNonlinearity


class Network(nn.Module):
    in_type = out_type = FieldType("1x0")

    def __init__(self, nonlinearity: nn.Module):
        super().__init__()
        self.lift = GaugeConv("1x0", "4x1", rings=2)
        self.nonlinearity = nonlinearity
        self.project = GaugeConv("4x1", "1x0", rings=2)

    def forward(self, x, stencil):
        return self.project(self.nonlinearity(self.lift(x, stencil)), stencil)


def build(sphere):
    return sphere.stencil(0.45, kind="log")


torch.manual_seed(0)
right, wrong = (report(Network(f), healpix(8), build) for f in (NormNonlinearity("4x1"), nn.ReLU()))
right.show()
wrong.show()
Path("runs").mkdir(exist_ok=True)
wrong.html("runs/equivariance.html")
figure(wrong).savefig("runs/equivariance.png", dpi=110)
print("saved runs/equivariance.html and runs/equivariance.png")
