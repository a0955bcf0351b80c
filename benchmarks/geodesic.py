"""Geodesics from every vertex of a mesh at once, beside potpourri3d, which takes one start at a time.

An irregular sphere of 10,000 vertices: the hull of Fibonacci points moved by 0.3 spacings.

    exp   24 straightest geodesics from every vertex, 1 to 3 mean edges long, with the transporters to the
          corners of the faces they end in, beside GeodesicTracer.trace_geodesic_from_vertex, which keeps the
          whole way and gives no transporter
    log   vectors and transporters of all vertices within 3 mean edges of every vertex, beside
          MeshVectorHeatSolver.compute_log_map (AffineLocal), which gives the vectors of all vertices; its
          setup is not counted

potpourri3d is timed on some of the starts, and its times are scaled up to all. Error: of exp the mean of
|arc − length| / length, arc the great-circle distance between the ends, on the unit sphere; of log the median
of |v − exact| / |exact| against the sphere's log, v turned by the best single angle at each vertex. Best of
three (our log: one); CPU seconds beside wall seconds show a busy machine.

python benchmarks/geodesic.py      prints, and writes benchmarks/geodesic.csv (under a minute, 3 GB)
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import potpourri3d
import torch
from import_time import cpu_name
from scipy.spatial import ConvexHull
from torch import Tensor

from geocnn.geometry.mesh import Mesh, mesh
from geocnn.geometry.tracing import corner_directions, trace_from_vertices

ROOT = Path(__file__).resolve().parents[1]
VERTICES, DIRECTIONS, EDGES, SAMPLE = 10_000, 24, 3, 100


def irregular_sphere(n: int, jitter: float = 0.3) -> Mesh:
    k, g = torch.arange(n, dtype=torch.float64), torch.Generator().manual_seed(0)
    z, phi = 1 - (2 * k + 1) / n, (k * math.pi * (3 - 5**0.5)) % (2 * math.pi)
    rho = (1 - z**2).sqrt()
    p = torch.stack([rho * phi.cos(), rho * phi.sin(), z], -1)
    p = p + jitter * math.sqrt(4 * math.pi / n) * torch.randn(n, 3, generator=g, dtype=torch.float64)
    p = p / p.norm(dim=1, keepdim=True)
    f = torch.from_numpy(ConvexHull(p.numpy()).simplices.astype("int64"))
    return mesh(p, torch.where((torch.linalg.det(p[f]) < 0)[:, None], f[:, [0, 2, 1]], f))


def seconds(run: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """Wall and CPU seconds, the best of some."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(w for w, _ in found), min(c for _, c in found)


def arc(p: Tensor, q: Tensor) -> Tensor:
    q = q / q.norm(dim=-1, keepdim=True)
    return 2 * torch.asin((p - q).norm(dim=-1) / 2)


def exact_logs(s: Mesh, p: Tensor, q: Tensor) -> Tensor:
    """The unit sphere's logs as complex numbers in the frames, which lie nearly across the radius."""
    x, y = s.points[p], s.points[q]
    ahead = y - (x * y).sum(1, keepdim=True) * x
    ahead = ahead / ahead.norm(dim=1, keepdim=True) * arc(x, y)[:, None]
    return torch.view_as_complex((s.frames[p] * ahead[:, None]).sum(-1).contiguous())


def log_error(s: Mesh, p: Tensor, q: Tensor, z: Tensor) -> float:
    """Median relative error of logs z [K] (complex)."""
    exact = exact_logs(s, p, q)
    lean = torch.zeros(s.n_points, dtype=z.dtype).index_add_(0, p, exact * z.conj())
    lean = lean / lean.abs().clamp_min(1e-300)
    return float(((lean[p] * z - exact).abs() / exact.abs()).median())


def exp_rows(s: Mesh) -> list[dict]:
    t, g = s.triangulation, torch.Generator().manual_seed(1)
    vertex = torch.arange(s.n_points).repeat_interleave(DIRECTIONS)
    edge = float(t.length.mean())
    length = edge * (1 + (EDGES - 1) * torch.rand(len(vertex), generator=g, dtype=torch.float64))
    polar = 2 * math.pi * torch.rand(len(vertex), generator=g, dtype=torch.float64)
    end = trace_from_vertices(t, vertex, polar, length)
    corners, weight, _ = corner_directions(t, end)
    points = (weight[..., None] * t.vertices[corners]).sum(1)
    wall, cpu = seconds(lambda: corner_directions(t, trace_from_vertices(t, vertex, polar, length)))
    error = float(((arc(s.points[vertex], points) - length).abs() / length).mean())

    tracer = potpourri3d.GeodesicTracer(t.vertices.numpy(), t.faces.numpy())
    some = torch.randperm(len(vertex), generator=g)[: 20 * SAMPLE]
    along = torch.stack([polar.cos(), polar.sin()], -1)[some] * length[some, None]
    vectors = torch.einsum("ki,kid->kd", along, s.frames[vertex[some]]).numpy()
    starts = list(zip(vertex[some].tolist(), vectors, strict=True))
    ends: list[np.ndarray] = []

    def theirs() -> None:
        ends[:] = [tracer.trace_geodesic_from_vertex(*start)[-1] for start in starts]

    their_wall, their_cpu = seconds(theirs)
    r, all_of_it = length[some], len(vertex) / len(some)
    arcs = arc(s.points[vertex[some]], torch.from_numpy(np.stack(ends)))
    their_error = float(((arcs - r).abs() / r).mean())
    return [
        row("exp", "geocnn", len(vertex), len(vertex), wall, cpu, error),
        row(
            "exp",
            "potpourri3d",
            len(vertex),
            len(some),
            their_wall * all_of_it,
            their_cpu * all_of_it,
            their_error,
        ),
    ]


def log_rows(s: Mesh) -> list[dict]:
    t, g = s.triangulation, torch.Generator().manual_seed(2)
    radius = EDGES * float(t.length.mean())
    st = s.stencil(radius, kind="log")
    wall, cpu = seconds(lambda: s.stencil(radius, kind="log"), repeats=1)
    p, q, z = st.target, st.source, torch.polar(st.r, st.theta)
    far = p != q
    error = log_error(s, p[far], q[far], z[far])

    solver = potpourri3d.MeshVectorHeatSolver(t.vertices.numpy(), t.faces.numpy())
    some = torch.randperm(s.n_points, generator=g)[:SAMPLE].sort().values
    logs: list[np.ndarray] = []

    def theirs() -> None:
        logs[:] = [solver.compute_log_map(int(v), "AffineLocal") for v in some]

    their_wall, their_cpu = seconds(theirs)
    ours = torch.isin(p, some) & far
    p, q = p[ours], q[ours]
    z = torch.from_numpy(np.stack(logs))[torch.searchsorted(some, p), q]
    their_error, all_of_it = log_error(s, p, q, torch.view_as_complex(z.contiguous())), s.n_points / SAMPLE
    return [
        row("log", "geocnn", s.n_points, s.n_points, wall, cpu, error),
        row(
            "log",
            "potpourri3d",
            s.n_points,
            SAMPLE,
            their_wall * all_of_it,
            their_cpu * all_of_it,
            their_error,
        ),
    ]


def row(task: str, by: str, starts: int, timed: int, wall: float, cpu: float, error: float) -> dict:
    return {
        "task": task, "by": by, "starts": starts, "timed": timed, "wall_s": wall, "cpu_s": cpu, "ratio": 1.0,
        "error": error, "vertices": VERTICES, "cpu": cpu_name(), "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }  # fmt: skip


def main() -> None:
    s = irregular_sphere(VERTICES)
    print(f"{'':5}{'':13}{'starts':>8}{'timed':>8}{'wall s':>9}{'CPU s':>9}{'ratio':>8}{'error':>10}")
    rows = []
    for ours, theirs in (exp_rows(s), log_rows(s)):
        theirs["ratio"] = theirs["cpu_s"] / ours["cpu_s"]
        for r in (ours, theirs):
            r |= {key: f"{r[key]:.2f}" for key in ("wall_s", "cpu_s")}
            r |= {"ratio": f"{r['ratio']:.1f}", "error": f"{r['error']:.2e}"}
            rows.append(r)
            print(
                f"{r['task']:5}{r['by']:13}{r['starts']:8}{r['timed']:8}{r['wall_s']:>9}{r['cpu_s']:>9}"
                f"{r['ratio']:>8}{r['error']:>10}",
                flush=True,
            )
    with (ROOT / "benchmarks" / "geodesic.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
