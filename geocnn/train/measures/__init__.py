"""How good answers on surfaces are: measures, their intervals, differences between models, trivial answers.

A *tally* (`tally.py`) keeps, per surface, sums from which every measure of a test set follows; points are
seen once. `labels`, `ranking`, `moments`, `calibration` and `ensembles` hold the formulas as functions of
tensors and one tally each. `metrics` wraps the tallies as metrics of torchmetrics for `Recipe.metrics`,
`measured` gives values with intervals. docs/metrics.md says which measure is for which task.
"""
