"""Fitting and measuring heads on one split: data, plan, child processes, saved heads."""
