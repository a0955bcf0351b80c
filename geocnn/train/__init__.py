"""Training: settings, one loop that Lightning runs, and the recipes; Lightning is imported where it runs.

`fit` trains on a data set as the command does, `evaluate` measures, `TrainedRun` answers.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geocnn.train.fitting import TrainedRun, evaluate, fit

__all__ = ["TrainedRun", "evaluate", "fit"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"geocnn.train has no '{name}'; it has {', '.join(__all__)}")
    from geocnn.train import fitting

    return getattr(fitting, name)
