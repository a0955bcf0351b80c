"""A bell carried around the sphere by winds from where a network has never seen any blow.

The wind turns about an axis, and carries a cosine bell along. Given the bell and the wind, a frequency-1
field, a network learns one time step; in training all axes are within 20° of the north pole, so that winds
blow east. Then the same problems are tilted: by 90°, and the wind crosses the poles. To gauge-equivariant
layers on HEALPix nothing has changed; a CNN on the latitude-longitude picture has never seen the like.

python examples/advection_sphere.py                                     ten steps (seconds)
python examples/advection_sphere.py --nside 8 --steps 300               docs/advection-sphere.md (4 minutes)
python examples/advection_sphere.py --nside 16 --steps 1000 --seeds 3   finer (hours of one core)
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from geocnn.geometry import healpix
from geocnn.geometry.spheres.surfaces import sphere_frames
from geocnn.harmonics import equiangular
from geocnn.nn import Gated, GaugeConv

BELL, NEAR, BATCH = 0.5, math.radians(20), 16  # radius of the bell, of the axes in training, problems a step
TILTS = (0, 30, 60, 90, 120, 150, 180)


class Grid(NamedTuple):
    """Points [N, 3] of the sphere, frames (south, east) [N, 2, 3], shares of the area [N], radians apart."""

    points: Tensor
    frames: Tensor
    shares: Tensor
    spacing: float


class Problems(NamedTuple):
    """Where bells are [B, 3], and the rotation vectors [B, 3] of one time step."""

    centre: Tensor
    turn: Tensor

    def tilted(self, degrees: float) -> Problems:
        """The same, turned about the x axis: bells and winds alike."""
        about_x = torch.tensor([[math.radians(degrees), 0.0, 0.0]], dtype=torch.float64)
        return Problems(rotated(self.centre, about_x), rotated(self.turn, about_x))


def rotated(v: Tensor, turn: Tensor) -> Tensor:
    """Vectors [B, 3] rotated by vectors [B, 3], |turn| radians (Rodrigues)."""
    angle = turn.norm(dim=-1, keepdim=True)
    axis = (turn / angle.clamp_min(1e-300)).expand_as(v)
    along = (axis * v).sum(-1, keepdim=True) * axis
    return along + angle.cos() * (v - along) + angle.sin() * torch.linalg.cross(axis, v, dim=-1)


def problems(count: int, spacing: float, generator: torch.Generator) -> Problems:
    """Bells anywhere; axes near the north pole; one to two spacings a step at the flow's equator."""
    random = torch.rand(3, count, generator=generator, dtype=torch.float64)
    z, phi = 1 - random[0] * (1 - math.cos(NEAR)), 2 * math.pi * random[1]
    rho = (1 - z**2).sqrt()
    axis = torch.stack([rho * phi.cos(), rho * phi.sin(), z], 1)
    centre = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return Problems(centre / centre.norm(dim=1, keepdim=True), axis * (spacing * (1 + random[2]))[:, None])


def bells(centre: Tensor, points: Tensor) -> Tensor:
    """½ (1 + cos(πr/BELL)) about each centre (Williamson et al. 1992, case 1), [B, N, 1]."""
    r = torch.acos((centre @ points.T).clamp(-1, 1))
    return (0.5 * (1 + torch.cos(math.pi * (r / BELL).clamp(max=1))))[..., None]


def fields(given: Problems, grid: Grid) -> tuple[Tensor, Tensor]:
    """The bell, and the wind (south, east) in spacings a step, [B, N, 3]; the bell a step later [B, N, 1]."""
    wind = torch.linalg.cross(given.turn[:, None], grid.points[None], dim=-1) / grid.spacing
    components = (wind[..., None, :] * grid.frames).sum(-1)
    x = torch.cat([bells(given.centre, grid.points), components], -1)
    return x.float(), bells(rotated(given.centre, given.turn), grid.points).float()


class GaugeSolver(nn.Module):
    """Gauge convolutions on HEALPix: what changes in a step, from a scalar and a tangent vector."""

    width = "16x0 + 8x1 + 4x2"
    depth = 3

    def __init__(self, nside: int):
        super().__init__()
        s = healpix(nside)
        spacing = math.sqrt(4 * math.pi / s.n_points)
        self.grid = Grid(s.points, s.frames, s.areas / s.areas.sum(), spacing)
        self.stencil = s.stencil(3.5 * spacing, kind="log").to(dtype=torch.float32)
        self.gated = Gated(self.width)
        types = ["1x0 + 1x1", *[self.width] * (self.depth - 1)]
        self.convs = nn.ModuleList(GaugeConv(a, self.gated.in_type, rings=2) for a in types)
        self.last = GaugeConv(self.width, "1x0", rings=2, bias=False)
        nn.init.zeros_(next(self.last.parameters()))

    def forward(self, x: Tensor) -> Tensor:
        y = self.gated(self.convs[0](x, self.stencil))
        for conv in list(self.convs)[1:]:
            y = y + self.gated(conv(y, self.stencil))
        return x[..., :1] + self.last(y, self.stencil)


class LatLonSolver(nn.Module):
    """Plane convolutions on the latitude-longitude picture with as many points, closed around the globe."""

    def __init__(self, nside: int):
        super().__init__()
        rings = equiangular(5 * nside // 2)
        theta, phi = rings.angles()
        points = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], 1)
        shares = rings.ring_values(rings.weight) / (4 * math.pi)
        # of the other network, so that both solve the same problems
        self.grid = Grid(points, sphere_frames(points), shares, math.sqrt(math.pi / 3) / nside)
        self.shape = rings.shape
        self.convs = nn.ModuleList(nn.Conv2d(c, 32, 5) for c in (3, 32, 32))
        self.last = nn.Conv2d(32, 1, 5, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = silu(self.convs[0](self._padded(x.unflatten(1, self.shape).movedim(-1, 1))))
        for conv in list(self.convs)[1:]:
            y = y + silu(conv(self._padded(y)))
        return x[..., :1] + self.last(self._padded(y)).flatten(2).mT

    @staticmethod
    def _padded(y: Tensor) -> Tensor:
        return pad(pad(y, (2, 2, 0, 0), mode="circular"), (0, 0, 2, 2), mode="replicate")


def size(f: Tensor, grid: Grid) -> Tensor:
    """The norm of fields [..., N, 1] over the sphere."""
    return (f[..., 0].square() @ grid.shares.to(f)).sqrt()


def train(model: GaugeSolver | LatLonSolver, steps: int, seed: int) -> None:
    generator, rate = torch.Generator().manual_seed(seed), 0.01 if isinstance(model, GaugeSolver) else 0.002
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(steps, 10))
    for _ in range(steps):
        x, y = fields(problems(BATCH, model.grid.spacing, generator), model.grid)
        loss = (size(model(x) - y, model.grid) / size(y, model.grid)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def error(model: nn.Module, grid: Grid, given: Problems) -> float:
    """Of one time step, root mean square over the problems, relative to the bell."""
    wrong = []
    for some in zip(*(part.split(BATCH) for part in given), strict=True):
        x, y = fields(Problems(*some), grid)
        wrong.append(size(model(x) - y, grid) / size(y, grid))
    return float(torch.cat(wrong).square().mean().sqrt())


class Still(nn.Module):
    """Nothing moves."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :1]


SOLVERS = {"gauge-equivariant": GaugeSolver, "latitude-longitude CNN": LatLonSolver}


def draw(errors: dict[str, Tensor], still: float, models: dict[str, nn.Module]):
    """Errors [seeds, tilts] by network, what would be if nothing moved, and the answers of one model each."""
    from matplotlib.figure import Figure

    from geocnn.viz import FAINT, INK, TRAINING_COLOURS, orthographic

    figure = Figure(figsize=(11.5, 5.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.25, 1])
    fine, axes = healpix(64), left.subplots(2, 3)
    given = Problems(*torch.eye(3, dtype=torch.float64)[[0, 2], None])
    given = given._replace(turn=next(iter(models.values())).grid.spacing * 1.5 * given.turn)
    for row, tilt in zip(axes, (0, 90), strict=True):
        problem = given.tilted(tilt)
        truth = bells(rotated(problem.centre, problem.turn), fine.points)[0, :, 0]
        pictures = {f"tilt {tilt}°: the bell a step later": truth}
        for name, model in models.items():
            x, y = fields(problem, model.grid)
            with torch.no_grad():
                off = (model(x) - y)[0, :, 0].double()
            pictures[f"{name}: error"] = off[(fine.points @ model.grid.points.T).argmax(1)]
        for axis, (title, values) in zip(row, pictures.items(), strict=True):
            picture, _ = orthographic(values, torch.tensor([1.0, 0.0, 0.0]), size=240)
            axis.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1)
            axis.set_title(title, fontsize=9, color=INK)
            axis.axis("off")
    axis = right.subplots()
    for (name, each), colour in zip(errors.items(), TRAINING_COLOURS, strict=False):
        axis.plot(TILTS, 100 * each.mean(0), "o-", color=colour, label=name)
        axis.fill_between(TILTS, 100 * each.amin(0), 100 * each.amax(0), color=colour, alpha=0.2, linewidth=0)
    axis.axhline(100 * still, color=FAINT, linewidth=0.8, linestyle=":", label="nothing moves")
    axis.set(xlabel="tilt of bell and wind, degrees (0: as in training)", xticks=TILTS, ylim=(0, None))
    axis.set_title("error of a time step, %", fontsize=10, color=INK)
    axis.legend(fontsize=9, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10, help=f"training steps, of {BATCH} problems each")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    print(
        f"error of a time step in %, by the tilt of bell and wind (0: as in training), {options.seeds} runs"
    )
    print(f"{'':24}" + "".join(f"{tilt:>12}°" for tilt in TILTS) + f"{'CPU s':>7}")
    errors, models = {}, {}
    for name, make in SOLVERS.items():
        start, found = time.process_time(), []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            models[name] = model = make(options.nside)
            train(model, options.steps, seed)
            tested = problems(64, model.grid.spacing, torch.Generator().manual_seed(1000))
            found.append([error(model, model.grid, tested.tilted(tilt)) for tilt in TILTS])
        errors[name] = torch.tensor(found)
        each = zip(100 * errors[name].mean(0), 100 * errors[name].std(0, correction=0), strict=True)
        seconds = (time.process_time() - start) / options.seeds
        print(f"{name:24}" + "".join(f"{m:7.1f} ± {s:3.1f}" for m, s in each) + f"{seconds:7.0f}")
    still = error(Still(), model.grid, tested)
    print(f"if nothing moved: {100 * still:.1f}")
    Path("runs").mkdir(exist_ok=True)
    with open("runs/advection_sphere.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["network", "seed", *(f"tilt_{tilt}" for tilt in TILTS)])
        for name, found in errors.items():
            table.writerows([name, k, *(f"{x:.5f}" for x in row)] for k, row in enumerate(found.tolist()))
    draw(errors, still, models).savefig("runs/advection_sphere.png", dpi=100)
    print("saved runs/advection_sphere.csv and runs/advection_sphere.png")


if __name__ == "__main__":
    main()
