"""A report as a table, and as one self-contained page with plots."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

from geocnn.equivariance.findings import Finding
from geocnn.equivariance.report import EXPLANATION, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

COLOURS = {"exact": "green", "converging": "blue", "broken": "red", "undecided": "yellow"}
INK = {"exact": "#2a7", "converging": "#36c", "broken": "#c22", "undecided": "#b80"}


def print_report(report: Report, console: Console) -> None:
    from rich.table import Table

    points = " → ".join(map(str, report.points))
    table = Table(
        "symmetry", "verdict", "error in float64", "order", f"in {report.dtype}", "layer",
        title=f"{report.model} on {report.surface}, {points} points",
        title_justify="left",
    )  # fmt: skip
    for f in report.findings:
        name, verdict, *cells = row(f)
        table.add_row(name, f"[{COLOURS[verdict]}]{verdict}", *cells)
    console.print(table, highlight=False)
    console.print(EXPLANATION, highlight=False)


def row(f: Finding) -> list[str]:
    """A finding in words: its symmetry, verdict, errors, order, error in the model's format, layer."""
    return [
        f.symmetry,
        "broken" if f.broken else f.model.verdict,
        " → ".join(f"{e:.1e}" for e in f.model.errors),
        "" if f.model.order is None else f"{f.model.order:.1f}",
        "" if f.own_error is None else f"{f.own_error:.1e}",
        f.layer or "",
    ]


def write_html(report: Report, path: str | Path) -> None:
    heads = ("symmetry", "verdict", f"error in float64 on {report.points} points", "order",
             f"error in {report.dtype}", "layer that breaks it")  # fmt: skip
    body = "".join(_html_row(f) for f in report.findings)
    left_out = f"<p>Does not apply here: {', '.join(report.left_out)}.</p>" if report.left_out else ""
    title = f"Equivariance of {_safe(report.model)}"
    plots = f"data:image/png;base64,{_png(figure(report))}"
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1><p>{_safe(report.surface)}</p>"
        f"<table><tr>{''.join(f'<th>{_safe(h)}</th>' for h in heads)}</tr>{body}</table>{left_out}"
        f"<p>{_safe(EXPLANATION)}</p>"
        f'<img alt="errors of the model and of its layers" src="{plots}">'
        "</html>"
    )
    Path(path).write_text(page, encoding="utf-8")


STYLE = (
    "body{font:15px sans-serif;max-width:72em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.3em .8em;border-bottom:1px solid #ddd}"
    "img{max-width:100%}"
)


def figure(report: Report) -> Figure:
    """Left, the model's error against the point spacing, a line a symmetry; right, each layer's own error."""
    from matplotlib.figure import Figure

    findings = report.findings
    drawn = Figure(figsize=(12, 3.5 + 0.12 * max((len(f.layers) for f in findings), default=0)))
    drawn.set_layout_engine("constrained")
    left, right = drawn.subplots(1, 2, width_ratios=(2, 3))
    for f in findings:
        verdict = "broken" if f.broken else f.model.verdict
        errors = [max(e, 1e-17) for e in f.model.errors]
        left.loglog(report.spacings[: len(errors)], errors, "o-", color=INK[verdict])
        left.annotate(f.symmetry, (report.spacings[0], errors[0]), (6, -3), textcoords="offset points")
    left.set(xlabel="point spacing", ylabel="relative error", title="the model", ylim=(1e-17, 10))
    left.margins(x=0.35)
    names = list(dict.fromkeys(p.name for f in findings for p in f.layers))
    for f in findings:
        for p in f.layers:
            right.plot(max(p.errors[-1], 1e-17), names.index(p.name), ".", color=INK[p.verdict], markersize=9)
    right.set_xscale("log")
    right.set(xlabel="relative error on the finest grid", title="each layer by itself", xlim=(1e-17, 10))
    right.set_yticks(range(len(names)), names, fontsize=7)
    right.invert_yaxis()
    for verdict, ink in INK.items():
        right.plot([], [], "o", color=ink, label=verdict)
    right.legend(loc="upper center", fontsize=8)
    return drawn


def _html_row(f: Finding) -> str:
    name, verdict, *cells = row(f)
    shown = "".join(f"<td>{_safe(c)}</td>" for c in cells)
    layers = "".join(
        f"<tr><td>{_safe(p.name)}</td><td>{p.verdict}</td>"
        f"<td>{' → '.join(f'{e:.1e}' for e in p.errors)}</td></tr>"
        for p in f.layers
    )
    details = (
        f"<details><summary>{_safe(name)}: {_safe(f.meaning)}</summary><table>{layers}</table></details>"
    )
    return f'<tr><td>{details}</td><td style="color:{INK[verdict]}"><b>{verdict}</b></td>{shown}</tr>'


def _png(drawn: Figure) -> str:
    stream = io.BytesIO()
    drawn.savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode()


def _safe(text: str) -> str:
    return html.escape(text)
