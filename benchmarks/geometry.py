"""Exponential and log maps of all vertices of a mesh at once, beside potpourri3d, which takes one source at a
time; connection, curvature and holonomy; how time grows with the mesh.

Irregular spheres of 10,000 to 160,000 vertices: hulls of Fibonacci points moved by 0.3 spacings.

    exp   24 straightest geodesics from every vertex, 1 to 3 mean edges long, with the faces they end in and
          the transporters to their corners, beside GeodesicTracer.trace_geodesic_from_vertex, which keeps the
          whole way and gives no transporter. About 60 float64 operations a face crossed, 3 or 4 faces each.
    log   vectors, transporters and quadrature weights of all vertices within 4 mean edges of every vertex,
          beside MeshVectorHeatSolver.compute_log_map (AffineLocal). Ours is local and its cost goes with the
          vertices in the disc; theirs solves on the whole mesh for each source and gives the vectors of all
          vertices, with setup not counted. About 350 windows a vertex, 60 float64 operations each.
    hub   logs between all vertices of a flat disc of 1,000 faces around one vertex.

potpourri3d is timed on `timed` of the starts, and its times are scaled up to all. Error: of exp the mean of
|arc − length| / length, arc the great-circle distance between the ends, on the unit sphere; of log the median
of |v − exact| / |exact| against the sphere's log, v turned by the best single angle at each vertex; theirs on
the vertices within the same distance of the timed ones. The least of three (their logs: two); CPU seconds
beside wall seconds show a busy machine, and ratios and ns_per_vertex are of CPU seconds.

python benchmarks/geometry.py             prints, and writes benchmarks/geometry.csv (some minutes, 4 GB)
python benchmarks/geometry.py --million   exp and log of 1,000,000 vertices, a chunk at a time: adds its rows
"""

from __future__ import annotations

import argparse
import csv
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import potpourri3d
import torch
from import_time import cpu_name
from scipy.spatial import ConvexHull
from torch import Tensor

from geocnn import geometry
from geocnn.geometry import Mesh, mesh

TABLE = Path(__file__).with_suffix(".csv")
SIZES, MILLION = (10_000, 40_000, 160_000), 1_000_000
SOURCES = {10_000: 100, 40_000: 40}
"""How many of the starts potpourri3d is timed on, of logs; of exps 20 times as many."""
DIRECTIONS, EDGES, CHUNK = 24, 4, 25_000


def irregular_sphere(n: int, jitter: float = 0.3) -> Mesh:
    k, g = torch.arange(n, dtype=torch.float64), torch.Generator().manual_seed(0)
    z, phi = 1 - (2 * k + 1) / n, (k * math.pi * (3 - 5**0.5)) % (2 * math.pi)
    rho = (1 - z**2).sqrt()
    p = torch.stack([rho * phi.cos(), rho * phi.sin(), z], -1)
    p = p + jitter * math.sqrt(4 * math.pi / n) * torch.randn(n, 3, generator=g, dtype=torch.float64)
    p = p / p.norm(dim=1, keepdim=True)
    f = torch.from_numpy(ConvexHull(p.numpy()).simplices.astype("int64"))
    made = mesh(p, torch.where((torch.linalg.det(p[f]) < 0)[:, None], f[:, [0, 2, 1]], f))
    assert isinstance(made, Mesh)
    return made


def fan(n: int) -> Mesh:
    """A flat disc of n triangles around vertex n."""
    k = torch.arange(n)
    angle = 2 * math.pi * k.double() / n
    rim = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], 1)
    made = mesh(
        torch.cat([rim, torch.zeros_like(rim[:1])]), torch.stack([torch.full_like(k, n), k, (k + 1) % n], 1)
    )
    assert isinstance(made, Mesh)
    return made


def seconds(run: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """Wall and CPU seconds, the least of some."""
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


def random_vectors(s: Mesh, base: Tensor) -> tuple[Tensor, Tensor]:
    """(base [K], vectors [K, 2]): DIRECTIONS a point, 1 to 3 mean edges long."""
    g, base = torch.Generator().manual_seed(1), base.repeat_interleave(DIRECTIONS)
    random = torch.rand(2, len(base), generator=g, dtype=torch.float64)
    length = float(s.triangulation.length.mean()) * (1 + 2 * random[0])
    return base, torch.view_as_real(torch.polar(length, 2 * math.pi * random[1]))


def exp_rows(s: Mesh) -> list[dict]:
    base, vectors = random_vectors(s, torch.arange(s.n_points))
    length = vectors.norm(dim=1)

    def error(points: Tensor, k: Tensor) -> float:
        return float(((arc(s.points[base[k]], points) - length[k]).abs() / length[k]).mean())

    ours = error(s.exp(base, vectors).points, torch.arange(len(base)))
    rows = [row("exp", "geocnn", s, len(base), len(base), seconds(lambda: s.exp(base, vectors)), ours)]
    if s.n_points not in SOURCES:
        return rows
    tracer = potpourri3d.GeodesicTracer(s.points.numpy(), s.faces.numpy())
    some = torch.randperm(len(base), generator=torch.Generator().manual_seed(2))[: 20 * SOURCES[s.n_points]]
    ahead = torch.einsum("ki,kid->kd", vectors[some], s.frames[base[some]]).numpy()
    starts = list(zip(base[some].tolist(), ahead, strict=True))
    ends: list[np.ndarray] = []

    def theirs() -> None:
        ends[:] = [tracer.trace_geodesic_from_vertex(*start)[-1] for start in starts]

    taken = seconds(theirs)
    their_error = error(torch.from_numpy(np.stack(ends)), some)
    return [*rows, row("exp", "potpourri3d", s, len(base), len(some), taken, their_error)]


def log_rows(s: Mesh) -> list[dict]:
    radius, n = EDGES * float(s.triangulation.length.mean()), s.n_points
    taken = seconds(lambda: s.stencil(radius, kind="log"))
    st = s.stencil(radius, kind="log")
    p, q, z = st.target, st.source, torch.polar(st.r, st.theta)
    far = p != q
    rows = [row("log", "geocnn", s, n, n, taken, log_error(s, p[far], q[far], z[far]))]
    if n not in SOURCES:
        return rows
    solver = potpourri3d.MeshVectorHeatSolver(s.points.numpy(), s.faces.numpy())
    some = torch.randperm(n, generator=torch.Generator().manual_seed(3))[: SOURCES[n]].sort().values
    logs: list[np.ndarray] = []

    def theirs() -> None:
        logs[:] = [solver.compute_log_map(int(v), "AffineLocal") for v in some]

    taken = seconds(theirs, repeats=2)
    near = far & torch.isin(p, some)
    p, q = p[near], q[near]
    z = torch.view_as_complex(torch.from_numpy(np.stack(logs))[torch.searchsorted(some, p), q].contiguous())
    return [*rows, row("log", "potpourri3d", s, n, len(some), taken, log_error(s, p, q, z))]


def other_rows(s: Mesh, disc: Mesh) -> list[dict]:
    runs: dict[str, Callable[[], object]] = {
        "mesh": lambda: mesh(s.points, s.faces),
        "connection": s.connection,
        "curvature": lambda: geometry.gaussian_curvature(s),
        "fundamental group": lambda: geometry.fundamental_group(s),
        "holonomy group": lambda: geometry.holonomy_group(s),
        "connection Laplacian": lambda: geometry.connection_laplacian(s),
    }
    rows = [row(name, "geocnn", s, s.n_points, s.n_points, seconds(run)) for name, run in runs.items()]
    taken = seconds(lambda: disc.stencil(3.0, kind="log"))
    return [*rows, row("hub", "geocnn", disc, disc.n_points, disc.n_points, taken)]


def million_rows() -> list[dict]:
    s = irregular_sphere(MILLION)
    chunks = torch.arange(s.n_points).split(CHUNK)
    radius, rows = EDGES * float(s.triangulation.length.mean()), []

    def exps() -> None:
        for chunk in chunks:
            s.exp(*random_vectors(s, chunk))

    def logs() -> None:
        for chunk in chunks:
            s.stencil(radius, kind="log", targets=chunk)

    for name, run, starts in (("exp", exps, DIRECTIONS * MILLION), ("log", logs, MILLION)):
        rows.append(row(name, "geocnn", s, starts, starts, seconds(run, repeats=1)))
        print(line(rows[-1]), flush=True)
    return rows


def row(
    task: str,
    by: str,
    s: Mesh,
    starts: int,
    timed: int,
    taken: tuple[float, float],
    error: float | None = None,
) -> dict:
    wall, cpu = (t * starts / timed for t in taken)
    return {
        "task": task, "by": by, "vertices": s.n_points, "starts": starts, "timed": timed,
        "wall_s": f"{wall:.3f}", "cpu_s": f"{cpu:.3f}", "ns_per_vertex": f"{1e9 * cpu / s.n_points:.0f}",
        "ratio": "", "error": "" if error is None else f"{error:.2e}",
        "peak_GB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}",
        "cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


COLUMNS = "task by vertices starts timed wall_s cpu_s ns_per_vertex ratio error peak_GB".split()


def line(row: dict) -> str:
    return f"{row['task']:21}{row['by']:13}" + "".join(f"{row[key]:>14}" for key in COLUMNS[2:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--million", action="store_true", help="a million vertices in chunks, added to the table"
    )
    million = parser.parse_args().million
    print(line({key: key for key in COLUMNS}))
    if million:
        with TABLE.open(newline="") as file:
            kept = [r for r in csv.DictReader(file) if r["vertices"] != str(MILLION)]
        rows = kept + million_rows()
    else:
        rows = []
        for n in SIZES:
            s = irregular_sphere(n)
            for pair in (exp_rows(s), log_rows(s)):
                if len(pair) == 2:
                    pair[1]["ratio"] = f"{float(pair[1]['cpu_s']) / float(pair[0]['cpu_s']):.1f}"
                rows += pair
                print(*map(line, pair), sep="\n", flush=True)
            if n == 40_000:
                rows += (more := other_rows(s, fan(1000)))
                print(*map(line, more), sep="\n", flush=True)
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
