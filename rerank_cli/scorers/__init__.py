"""Scorers: pairs to numbers, one module a backend. `open_scorer` in `registry` picks one for a model reference."""
