"""Evaluation of runs against judgements: measures, comparison, significance, assertions, reports."""
