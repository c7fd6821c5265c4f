"""Vectors of texts: how a query's are compared with a document's, and a bounded memory of them. numpy only.

It knows nothing of models, tokens or engines.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Multiplications of one product: OpenBLAS takes one thread for them. More threads are no faster here, and on a busy
# machine they wait for each other (1,000 documents in up to 2 s for 0.1 s: benchmarks/maxsim.py).
SMALL = 1 << 18
MEMORY_BYTES = 256 << 20  # of vectors: about 2,900 passages of 180 tokens with 128 numbers each


def maxsim(query: NDArray[Any], document: NDArray[Any]) -> float:
    """The sum, over the query's vectors, of the largest product with a vector of the document.

    Float32 [query tokens, width] and [document tokens, width]. With vectors of length one it is a sum of cosines, of at
    most the number of the query's tokens; with one vector for each text it is their cosine. A document is compared
    alone, so that rounding does not depend on the others (Khattab and Zaharia 2020, https://arxiv.org/abs/2004.12832).
    """
    import numpy as np

    rows = max(1, SMALL // query.size)
    best = [(document[at : at + rows] @ query.T).max(axis=0) for at in range(0, len(document), rows)]
    return float(np.maximum.reduce(best).sum(dtype=np.float64))


def similarity(name: str, query: NDArray[Any], document: NDArray[Any]) -> float:
    """MaxSim, or for `meanmaxsim` its mean over the query's vectors."""
    total = maxsim(query, document)
    return total / len(query) if name == "meanmaxsim" else total


def normalized(vectors: NDArray[Any]) -> NDArray[Any]:
    """Vectors [n, width] scaled to length one; zeros stay."""
    import numpy as np

    lengths: NDArray[Any] = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    scaled: NDArray[Any] = vectors / np.maximum(lengths, 1e-12)  # torch's epsilon
    return scaled


class VectorMemory:
    """The vectors that were used last, of at most `limit` bytes in all."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self._limit = limit
        self._vectors: OrderedDict[bytes, NDArray[Any]] = OrderedDict()
        self.bytes = 0

    def get(self, key: bytes) -> NDArray[Any] | None:
        """The vectors of a key, if they are still held."""
        found = self._vectors.get(key)
        if found is not None:
            self._vectors.move_to_end(key)
        return found

    def put(self, key: bytes, vectors: NDArray[Any]) -> None:
        """Hold vectors, and give up those that were not used for the longest time."""
        self._vectors[key] = vectors
        self.bytes += vectors.nbytes
        while self.bytes > self._limit:
            self.bytes -= self._vectors.popitem(last=False)[1].nbytes
