"""Fit one head on a cached store."""

from toolkit.experiment.measuring import FitReport
from toolkit.experiment.training import fit_heads
from toolkit.runtime.options import takes
from toolkit.verbs.options import FitOptions


@takes(FitOptions)
def fit(options: FitOptions) -> FitReport:
    """Fit one head on a cached store, tune its decision rule, measure it and save it.

    The head lies in ``artifacts/heads/<head>/`` afterwards. Store, labels and split are found by themselves
    where there is no doubt.

    Returns
    -------
    FitReport
        The metrics, on rows that influenced nothing, and how the head came about.

    Raises
    ------
    ToolkitError
        Something is missing, contradicts something else or has a value that is not allowed.

    See Also
    --------
    compare : Fit several heads on the same split.
    add_tags : Teach a fitted head further tags.

    Examples
    --------
    >>> import toolkit
    >>> report = toolkit.fit("knn", options={"k": 5}, artifacts=artifacts)
    >>> report.head, round(report.metrics.micro_f1, 1)
    ('knn', 1.0)
    """
    return fit_heads([options.head], {options.head: options.options}, options).reports[-1]
