"""Splits, decision rules, metrics and intervals: how honest numbers are made."""
