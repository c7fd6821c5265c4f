"""The version of this package, below every module that tells it; packaging reads it here too."""

__version__ = "0.1.0"
