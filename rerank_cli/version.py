"""The version of this package, below every module that shows it; packaging reads it here too."""

__version__ = "0.1.0"
