"""Measure equivariance instead of claiming it."""

from geocnn.equivariance.errors import Deviation, GaugeError, anchor_error, gauge_error, rotation_error
from geocnn.equivariance.findings import Finding, Measured, Report
from geocnn.equivariance.measuring import judged
from geocnn.equivariance.reports import assert_equivariant, report
from geocnn.equivariance.symmetries import SYMMETRIES

__all__ = [
    "SYMMETRIES",
    "Deviation",
    "Finding",
    "GaugeError",
    "Measured",
    "Report",
    "anchor_error",
    "assert_equivariant",
    "gauge_error",
    "judged",
    "report",
    "rotation_error",
]
