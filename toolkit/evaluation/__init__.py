"""Splits, decision rules, metrics and their confidence intervals."""
