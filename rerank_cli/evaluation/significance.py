"""Whether a difference is more than chance: paired randomisation test and bootstrap intervals, both seeded.

Pure arithmetic on lists of numbers, one per query; it knows nothing of measures or runs. numpy is imported when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20_100_719
EXACT_UP_TO = 16  # queries: all 2^n sign patterns are fewer than the random samples
CELLS = 4_000_000  # numbers in memory at a time (32 MB)
TOLERANCE = 1e-12  # sums of the same numbers in another order must count as equal


def randomisation_p(deltas: Sequence[float], resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """Two-sided p-value of the mean of paired differences under random exchange of the two runs, query by query.

    Exact (all sign patterns) for up to 16 queries that differ; else (1 + extreme) / (1 + drawn), never 0.
    Source: Smucker, Allan, Carterette, "A comparison of statistical significance tests for IR evaluation" (CIKM 2007).
    """
    import numpy as np

    moved = np.array([delta for delta in deltas if delta != 0.0])
    if moved.size == 0:
        return 1.0
    observed = abs(float(moved.sum())) - TOLERANCE
    if moved.size <= EXACT_UP_TO:
        patterns = np.arange(1 << moved.size)[:, None] >> np.arange(moved.size) & 1
        return float((np.abs((1 - 2 * patterns) @ moved) >= observed).mean())
    generator = np.random.default_rng(seed)
    extreme = 0
    for count in _chunks(resamples, moved.size):
        signs = 1 - 2 * generator.integers(0, 2, size=(count, moved.size), dtype=np.int8)
        extreme += int((np.abs(signs @ moved) >= observed).sum())
    return (1 + extreme) / (1 + resamples)


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The percentile interval of the mean over queries drawn with replacement; (mean, mean) for fewer than two."""
    import numpy as np

    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size < 2:
        only = float(numbers.sum())
        return only, only
    generator = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    for count in _chunks(resamples, numbers.size):
        drawn = generator.integers(0, numbers.size, size=(count, numbers.size), dtype=np.int32)
        means.append(numbers[drawn].mean(axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _chunks(resamples: int, size: int) -> list[int]:
    """Resamples split so that no draw holds more than CELLS numbers."""
    each = max(1, CELLS // size)
    return [min(each, resamples - start) for start in range(0, resamples, each)]
