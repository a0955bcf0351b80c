"""Spherical harmonic transforms beside torch-harmonics and healpy, and their memory at degree 1024.

- torch-harmonics 0.9.3, Gauss-Legendre grids, float32, batch 8, same lmax, forward + backward: RealSHT,
  InverseRealSHT and RealVectorSHT (whose two components are one spin-1 field here).
- healpy's map2alm with three iterations at lmax = 2 nside, float64, one map; here one map and, per map, 16.
- degree 1024: synthesis and analysis of one map in a process of its own, peak memory above that of imports
  and input. Table: what all degrees, orders and northern rings would take.

Rivals take turns; times are medians, ratios are of processor time. Threads are what OMP_NUM_THREADS says.

python benchmarks/harmonics.py [folder]      prints, and writes benchmarks/harmonics.csv (minutes)

The folder is where torch-harmonics lies, if not among the installed packages:
pip install --no-deps --target folder torch-harmonics==0.9.3
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from import_time import cpu_name
from torch import Tensor

from geocnn.harmonics import (
    alm_to_healpy,
    analysis,
    gauss_legendre,
    healpix_grid,
    random_coefficients,
    synthesis,
)

ROOT = Path(__file__).resolve().parents[1]
BATCH, REPEATS = 8, 5
COLUMNS = "task grid channels by wall_ms cpu_ms ratio difference cpu threads torch".split()


def compete(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Median wall and processor milliseconds of both, run in turns."""
    times: list[list[tuple[float, float]]] = [[], []]
    for repeat in range(REPEATS + 1):
        for run, found in zip((ours, theirs), times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if repeat:
                found.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    wall, cpu = ([statistics.median(t[i] for t in found) for found in times] for i in (0, 1))
    return wall, cpu


def both_ways(transform: Callable[[Tensor], Tensor], x: Tensor, cotangent: Tensor) -> Callable[[], None]:
    return lambda: transform(x).backward(cotangent)


def torch_harmonics_cases(n_lat: int, channels: int):
    """(task, our transform, their transform, relative difference) on n_lat x 2 n_lat points."""
    import torch_harmonics

    grid, lmax = gauss_legendre(n_lat), n_lat - 1
    size = {"nlat": n_lat, "nlon": 2 * n_lat, "grid": "legendre-gauss"}
    x = torch.randn(BATCH, channels, n_lat, 2 * n_lat)
    flat = x.flatten(-2).requires_grad_()

    theirs = torch_harmonics.RealSHT(**size)
    alm = analysis(flat, grid, lmax).detach()
    yield (
        "analysis",
        both_ways(lambda v: analysis(v, grid, lmax), flat, torch.randn_like(alm)),
        both_ways(theirs, x.clone().requires_grad_(), torch.randn_like(theirs(x))),
        float((theirs(x) - alm).abs().max() / alm.abs().max()),
    )
    back = torch_harmonics.InverseRealSHT(**size, lmax=n_lat, mmax=n_lat)
    values = synthesis(alm, grid).unflatten(-1, grid.shape)
    yield (
        "synthesis",
        both_ways(lambda a: synthesis(a, grid), alm.clone().requires_grad_(), flat.detach()),
        both_ways(back, alm.contiguous().requires_grad_(), x),
        float((back(alm.contiguous()) - values).abs().max() / values.abs().max()),
    )
    vector = torch_harmonics.RealVectorSHT(**size)
    pair = torch.randn(BATCH, channels, 2, n_lat, 2 * n_lat)
    field = torch.complex(pair[:, :, 0], pair[:, :, 1]).flatten(-2).requires_grad_()
    spin = analysis(field, grid, lmax, spin=1).detach()
    # Their harmonics are gradients of unit harmonics, so coefficients are ours over sqrt(l(l + 1)); at m = 0
    # their two are, up to sign, the real and imaginary part of ours.
    degree = torch.arange(n_lat)
    zonal = (
        (degree * (degree + 1)) * vector(pair)[..., 0].abs().square().sum(-2),
        spin[..., lmax].abs().square(),
    )
    yield (
        "spin-1 analysis",
        both_ways(lambda v: analysis(v, grid, lmax, spin=1), field, torch.randn_like(spin)),
        both_ways(vector, pair.clone().requires_grad_(), torch.randn_like(vector(pair))),
        float((zonal[0] - zonal[1]).abs().max() / zonal[1].max()),
    )


def healpy_case(nside: int, maps: int):
    """(our transform of some maps, healpy's of one, relative difference)."""
    import healpy

    lmax, grid = 2 * nside, healpix_grid(nside)
    alm = random_coefficients(lmax, maps, torch.Generator().manual_seed(0))
    values = synthesis(alm, grid)
    one = values[0].numpy()

    def theirs():
        return healpy.map2alm(one, lmax=lmax, iter=3)

    found = alm_to_healpy(analysis(values[:1], grid, lmax))[0]
    difference = float((found - torch.from_numpy(theirs())).abs().max() / found.abs().max())
    return (lambda: analysis(values, grid, lmax, iterations=3)), theirs, difference


def memory(dtype: str) -> None:
    """Prints seconds and the growth of peak memory in MiB at degree 1024; run in a process of its own."""
    lmax, grid = 1024, gauss_legendre(1025)
    alm = random_coefficients(lmax, 1, torch.Generator().manual_seed(0))
    alm = alm.to(torch.complex64 if dtype == "float32" else torch.complex128)
    before = peak_mib()
    start = time.perf_counter()
    found = analysis(synthesis(alm, grid), grid, lmax)
    seconds = time.perf_counter() - start
    print(seconds, peak_mib() - before, float((found - alm).norm() / alm.norm()))


def peak_mib() -> float:
    """The most memory this process has held at once (Linux)."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 1024


def main(rows: list[dict]) -> None:
    machine = {"cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}

    def report(task, grid, channels, peer, wall, cpu, difference, maps=1):
        for by, w, c in zip(("geocnn", peer), wall, cpu, strict=True):
            share = maps if by == "geocnn" else 1
            ratio = f"{cpu[1] * maps / cpu[0]:.2f}" if by == "geocnn" else ""
            row = [
                task,
                grid,
                channels,
                by,
                f"{w / share:.2f}",
                f"{c / share:.2f}",
                ratio,
                f"{difference:.1e}",
            ]
            rows.append(dict(zip(COLUMNS, row, strict=False)) | machine)
        print(
            f"{task:16s} {grid:>10s} {channels:>9s} {wall[0] / maps:9.1f} {wall[1]:9.1f} {cpu[0] / maps:9.1f}"
            f" {cpu[1]:9.1f} {cpu[1] * maps / cpu[0]:6.2f}x {difference:9.1e}",
            flush=True,
        )

    print("task                   grid  channels   wall ms      peer    cpu ms      peer   ratio    differ")
    for n_lat in (64, 128):
        for channels in (16, 32):
            for task, ours, theirs, difference in torch_harmonics_cases(n_lat, channels):
                grid = f"{n_lat}x{2 * n_lat}"
                report(task, grid, str(channels), "torch-harmonics", *compete(ours, theirs), difference)
    for nside in (64, 128, 256):
        for maps in (1, 16) if nside < 256 else (1,):
            ours, theirs, difference = healpy_case(nside, maps)
            task = "map2alm" if maps == 1 else f"map2alm of {maps}"
            report(task, f"nside {nside}", "1", "healpy", *compete(ours, theirs), difference, maps)
    for dtype, size in (("float32", 4), ("float64", 8)):
        command = [sys.executable, __file__, "--memory", dtype]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, peak, error = map(float, done.stdout.split())
        table = 1025**2 * 513 * size / 2**20
        print(
            f"degree 1024, {dtype}: round trip {seconds:.1f} s, peak {peak:.0f} MiB (table {table:.0f} MiB), "
            f"error {error:.1e}"
        )
        row = [f"round trip, peak {peak:.0f} MiB", "1025x2050", dtype, "geocnn", f"{1e3 * seconds:.0f}"]
        rows.append(dict(zip(COLUMNS, [*row, "", "", f"{error:.1e}"], strict=False)) | machine)
    with (ROOT / "benchmarks" / "harmonics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if "--memory" in sys.argv:
        memory(sys.argv[-1])
    else:
        sys.path[1:1] = sys.argv[1:]
        main([])
