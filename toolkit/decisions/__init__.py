"""Decision rules: scores in [0, 1] to tags. Tune them on rows the head never saw."""

from toolkit.decisions.base import ChosenRows as ChosenRows
from toolkit.decisions.base import DecisionRule as DecisionRule
from toolkit.decisions.base import ScoreMatrix as ScoreMatrix
from toolkit.decisions.base import Scores as Scores
from toolkit.decisions.crossfit import cross_fitted as cross_fitted
from toolkit.decisions.crossfit import optimism as optimism
from toolkit.decisions.cuts import UNTUNED as UNTUNED
from toolkit.decisions.cuts import best_threshold as best_threshold
from toolkit.decisions.ranked import ExpectedF1 as ExpectedF1
from toolkit.decisions.ranked import TopK as TopK
from toolkit.decisions.registry import ALLOWED as ALLOWED
from toolkit.decisions.registry import DEFAULT_RULE as DEFAULT_RULE
from toolkit.decisions.registry import DEFAULT_RULES as DEFAULT_RULES
from toolkit.decisions.registry import RULES as RULES
from toolkit.decisions.registry import default_rule as default_rule
from toolkit.decisions.registry import parse_rule as parse_rule
from toolkit.decisions.registry import rule_from_dict as rule_from_dict
from toolkit.decisions.thresholds import Fixed as Fixed
from toolkit.decisions.thresholds import Global as Global
from toolkit.decisions.thresholds import LogitAdjusted as LogitAdjusted
from toolkit.decisions.thresholds import PerTag as PerTag
from toolkit.decisions.thresholds import Thresholds as Thresholds
