"""Numbers in eight bits: weights per output column, embedding rows per row. No graph is touched here.

A product of unsigned 8-bit activations and signed 8-bit weights saturates on x86 CPUs without VNNI: the instruction
vpmaddubsw adds two neighbouring products (input features 2j and 2j + 1) in 16 bits. With activations up to 255 the sum
stays below 2**15 if the positive weights of a pair add up to at most 128, and the negative ones to at least -128:
255 * 128 = 32,640. Weights are therefore held to that, pair by pair, instead of being cut to 7 bits: the scale grows by
about a fifth instead of doubling, and the integers are exact, hence equal, on every CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LIMIT = 127  # largest magnitude of one weight
PAIR_LIMIT = 128  # largest sum of two neighbouring weights of one sign: floor((2**15 - 1) / 255)
SMALLEST = 1e-12  # a column of zeros still needs a scale
# Shares of the smallest scale that clips nothing. A lower scale clips a few weights and rounds all others finer.
SHARES = tuple(share / 100 for share in range(60, 101, 2))


class Quantized(NamedTuple):
    """`values` int8 and `scales` float32; the original is about `values * scales` along the axis of the scales."""

    values: Array
    scales: Array


def _reach(weight: Array) -> Array:
    """The smallest scale of each column, [outputs], at which no weight and no pair has to be clipped."""
    import numpy as np

    single = np.abs(weight).max(axis=0) / LIMIT
    if len(weight) % 2:
        weight = np.concatenate([weight, np.zeros_like(weight[:1])])
    first, second = weight[0::2], weight[1::2]
    same_sign = np.where(first * second > 0, np.abs(first + second), 0)
    reach: Array = np.maximum(np.maximum(single, same_sign.max(axis=0) / PAIR_LIMIT), SMALLEST)
    return reach


def _fit(weight: Array, scale: Array) -> Array:
    """Rounds [inputs, outputs] to integers that keep both limits; whoever breaks the pair limit shares the excess."""
    import numpy as np

    odd = len(weight) % 2
    rounded = np.clip(np.rint(weight / scale), -LIMIT, LIMIT).astype(np.int32)
    if odd:
        rounded = np.concatenate([rounded, np.zeros_like(rounded[:1])])
    first, second = rounded[0::2], rounded[1::2]  # views: the writes below change `rounded`
    excess = np.where(first * second > 0, np.abs(first + second) - PAIR_LIMIT, 0).clip(min=0)
    # The nearest point of the limit takes half of the excess from each; a small weight must not change its sign.
    from_first = np.clip((excess + 1) // 2, excess - np.abs(second), np.abs(first))
    sign = np.sign(first)
    first -= sign * from_first
    second -= sign * (excess - from_first)
    return rounded[: len(weight)] if odd else rounded


def quantize_columns(weight: Array) -> Quantized:
    """A weight [inputs, outputs] with one scale per output, [outputs], chosen for the least squared error."""
    import numpy as np

    exact = weight.astype(np.float64)
    reach = _reach(exact)
    best_values, best_scale = _fit(exact, reach), reach
    best_error = ((best_values * reach - exact) ** 2).sum(axis=0)
    for share in SHARES[:-1]:
        scale = reach * share
        values = _fit(exact, scale)
        error = ((values * scale - exact) ** 2).sum(axis=0)
        better = error < best_error
        best_values = np.where(better, values, best_values)
        best_scale, best_error = np.where(better, scale, best_scale), np.where(better, error, best_error)
    return Quantized(best_values.astype(np.int8), best_scale.astype(np.float32))


def quantize_rows(table: Array) -> Quantized:
    """An embedding table [rows, width] with one scale per row, [rows, 1]; nothing multiplies it in integers."""
    import numpy as np

    exact = table.astype(np.float64)
    scale = np.maximum(np.abs(exact).max(axis=1, keepdims=True) / LIMIT, SMALLEST)
    return Quantized(np.rint(exact / scale).astype(np.int8), scale.astype(np.float32))
