"""Random test sets: a list of (answer, truth, weight), one per surface."""

import torch


def labelled(surfaces=6, classes=4, points=50, seed=0, unknown=0.2):
    """Logits that often agree with the truth, some labels unknown, sizes and areas that differ."""
    g = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(surfaces):
        n = int(torch.randint(points // 2, points, (), generator=g))
        truth = torch.randint(classes, (n,), generator=g)
        answer = torch.randn(n, classes, generator=g, dtype=torch.float64)
        answer += 1.5 * torch.nn.functional.one_hot(truth, classes)
        truth[torch.rand(n, generator=g) < unknown] = -1
        parts.append((answer, truth, torch.rand(n, generator=g, dtype=torch.float64) + 0.1))
    return parts


def numbered(surfaces=6, targets=2, points=50, seed=0):
    g = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(surfaces):
        n = int(torch.randint(points // 2, points, (), generator=g))
        truth = torch.randn(n, targets, generator=g, dtype=torch.float64) * 3 + 7
        answer = truth + torch.randn(n, targets, generator=g, dtype=torch.float64)
        parts.append((answer, truth, torch.rand(n, generator=g, dtype=torch.float64) + 0.1))
    return parts


def updated(metric, parts):
    for part in parts:
        metric.update(*part)
    return metric


def values(metric):
    return {name: measured.value for name, measured in metric.measures(resamples=2).values.items()}


def pooled(parts, known=True):
    """All known points in one row; the weights of each surface sum to 1."""
    kept = [[part[truth >= 0] if known else part for part in (a, truth, w)] for a, truth, w in parts]
    answer, truth = (torch.cat([part[k] for part in kept]) for k in (0, 1))
    return answer, truth, torch.cat([w / w.sum() for _, _, w in kept])
