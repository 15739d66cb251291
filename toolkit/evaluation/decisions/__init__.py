"""Decision rules: scores in [0, 1] to tags. Tune them on rows the head never saw."""
