"""A report as a table, and as one self-contained page with plots."""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from geocnn.console import legible
from geocnn.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import Console

    from geocnn.equivariance.findings import Finding, Measured, Report

COLOURS = {"exact": "green", "converging": "blue", "broken": "red", "undecided": "yellow"}
INK = {"exact": "#2a7", "converging": "#36c", "broken": "#c22", "undecided": "#b80"}

LEAST = 1e-17
"""The value at which a zero error is drawn."""


def print_report(report: Report, console: Console) -> None:
    """Print a report as a table."""
    from rich.table import Table
    from rich.text import Text

    points = " → ".join(map(str, report.points))
    table = Table(
        "symmetry", "verdict", "error in float64", "order", _own_format(report), "layer",
        title=Text(f"{report.model} on {report.surface}, {points} points"),
        title_justify="left",
    )  # fmt: skip
    for f in report.findings:
        name, verdict, *cells = row(f)
        table.add_row(
            name, Text(verdict, COLOURS[verdict]), *(Text(legible(cell, console.encoding)) for cell in cells)
        )
    console.print(table, highlight=False)
    if report.left_out:
        console.print(f"Does not apply here: {', '.join(report.left_out)}.", highlight=False)
    if report.untrained:
        console.print(Text(f"{report.untrained[0].upper()}{report.untrained[1:]}."), highlight=False)
    console.print(report.explanation, highlight=False)


def _own_format(report: Report) -> str:
    """Return the heading of errors in the model's own number format, which may be float64 too."""
    return f"in {report.dtype}" if any(f.own_error is not None for f in report.findings) else ""


def row(f: Finding) -> list[str]:
    """Return a finding in words: its symmetry, verdict, errors, order, error in the model's format, layer."""
    return [
        f.symmetry,
        "broken" if f.broken else f.model.verdict,
        _errors(f.model) + ("" if f.training is None else f"; in training {_errors(f.training)}"),
        "" if f.model.order is None else f"{f.model.order:.1f}",
        "" if f.own_error is None else f"{f.own_error:.1e}",
        f.layer or "",
    ]


def _errors(measured: Measured) -> str:
    return " → ".join(f"{e:.1e}" for e in measured.errors)


def write_html(report: Report, path: str | Path) -> None:
    """Write a report as one self-contained page with plots."""
    heads = ("symmetry", "verdict", f"error in float64 on {report.points} points", "order",
             _own_format(report), "layer that breaks it")  # fmt: skip
    body = "".join(_html_row(f) for f in report.findings)
    left_out = f"<p>Does not apply here: {', '.join(report.left_out)}.</p>" if report.left_out else ""
    title = f"Equivariance of {_safe(report.model)}"
    left_out += f"<p>{_safe(report.untrained)}</p>" if report.untrained else ""
    plots = f"data:image/png;base64,{_png(figure(report))}"
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1><p>{_safe(report.surface)}</p>"
        f"<table><tr>{''.join(f'<th>{_safe(h)}</th>' for h in heads)}</tr>{body}</table>{left_out}"
        f"<p>{_safe(report.explanation)}</p>"
        f'<img alt="errors of the model and of its layers" src="{plots}">'
        "</html>"
    )
    with replacing(path) as new:
        new.write_text(page, encoding="utf-8")


STYLE = (
    "body{font:15px sans-serif;max-width:72em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.3em .8em;border-bottom:1px solid #ddd}"
    "img{max-width:100%}"
)


def figure(report: Report) -> Figure:
    """Draw the model's error against the point spacing, one line per symmetry, and each layer's own error."""
    from matplotlib.figure import Figure

    # an exact input of a module says nothing about the model
    names = dict.fromkeys(
        p.name for f in report.findings for p in f.layers if "(before" not in p.name or p.errors[-1] > 1e-10
    )
    picture = Figure(figsize=(12, 3.5 + 0.12 * len(names)), layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=(2, 3))
    _draw_model(left, report)
    for height, name in enumerate(names):
        for p in (p for f in report.findings for p in f.layers if p.name == name):
            right.plot(max(p.errors[-1], LEAST), height, ".", color=INK[p.verdict], markersize=9)
    right.set_xscale("log")
    right.set(xlabel="relative error on the finest grid", title="each layer by itself", xlim=(LEAST / 3, 10))
    right.set_yticks(range(len(names)), list(names), fontsize=8)
    right.invert_yaxis()
    for verdict, ink in INK.items():
        right.plot([], [], "o", color=ink, label=verdict)
    right.legend(loc="center", fontsize=8)
    return picture


def _draw_model(axes: Axes, report: Report) -> None:
    lowest = -math.inf
    for f in sorted(report.findings, key=lambda f: f.model.errors[0]):
        errors = [max(e, LEAST) for e in f.model.errors]
        ink = INK["broken" if f.broken else f.model.verdict]
        axes.loglog(report.spacings[: len(errors)], errors, "o-", color=ink)
        # names at least a decade apart are legible
        lowest = max(math.log10(errors[0]), lowest + 1)
        axes.annotate(
            f.symmetry, (report.spacings[0], 10**lowest), (8, -3), textcoords="offset points", color=ink
        )
    axes.set_xticks(report.spacings, [f"{spacing:.2g}" for spacing in report.spacings])
    axes.minorticks_off()
    axes.set(xlabel="point spacing", ylabel="relative error", title="the model", ylim=(LEAST / 3, 1e4))
    axes.margins(x=0.4)


def _html_row(f: Finding) -> str:
    name, verdict, *cells = row(f)
    cells_html = "".join(f"<td>{_safe(c)}</td>" for c in cells)
    layers = "".join(
        f"<tr><td>{_safe(p.name)}</td><td>{p.verdict}</td>"
        f"<td>{' → '.join(f'{e:.1e}' for e in p.errors)}</td></tr>"
        for p in f.layers
    )
    details = (
        f"<details><summary>{_safe(name)}: {_safe(f.meaning)}</summary><table>{layers}</table></details>"
    )
    return f'<tr><td>{details}</td><td style="color:{INK[verdict]}"><b>{verdict}</b></td>{cells_html}</tr>'


def _png(picture: Figure) -> str:
    stream = io.BytesIO()
    picture.savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode()


def _safe(text: str) -> str:
    return html.escape(text)
