"""fit, compare, predict, evaluate: the only place that knows the order of the work."""
