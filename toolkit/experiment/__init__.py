"""fit, compare, predict, evaluate: the only place that knows the order of the work."""

from toolkit.experiment.adding import AddReport, add_tags
from toolkit.experiment.comparing import Comparison, compare
from toolkit.experiment.dataset import DataOptions, Dataset, load_dataset
from toolkit.experiment.evaluating import Evaluation, evaluate
from toolkit.experiment.exporting import export
from toolkit.experiment.inventory import info
from toolkit.experiment.measuring import FitReport
from toolkit.experiment.predicting import PredictReport, predict
from toolkit.experiment.saved import SavedHead
from toolkit.experiment.training import fit
from toolkit.experiment.tuning import TuneReport, tune

__all__ = [
    "AddReport",
    "Comparison",
    "DataOptions",
    "Dataset",
    "Evaluation",
    "FitReport",
    "PredictReport",
    "SavedHead",
    "TuneReport",
    "add_tags",
    "compare",
    "evaluate",
    "export",
    "fit",
    "info",
    "load_dataset",
    "predict",
    "tune",
]
