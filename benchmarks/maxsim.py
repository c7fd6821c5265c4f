"""MaxSim on this CPU against numpy's einsum over the same arrays, and what storing vectors in 16 or 8 bits would lose.

    python benchmarks/maxsim.py [--documents 1000] [--tokens 180]

Vectors are random directions around topics, so that products are spread as those of a trained model are; the loss
depends on them only weakly. No time is asserted; the two ways must agree.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rerank_cli.scorers.vectors import maxsim, normalized

if TYPE_CHECKING:
    from collections.abc import Callable

Vectors = NDArray[np.float32]


def made(count: int, tokens: int, width: int, topics: Vectors, seed: int) -> list[Vectors]:
    """`count` texts of 60 to 100 % of `tokens` vectors, each around a few topics."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        length = int(random.integers(tokens * 6 // 10, tokens + 1))
        near = topics[random.integers(0, len(topics), length)]
        found.append(normalized(near + random.normal(size=(length, width)).astype(np.float32) * 0.08))
    return found


def best_of(run: Callable[[], object], times: int = 7) -> float:
    """Seconds of the fastest run."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def einsum(query: Vectors, padded: Vectors, mask: NDArray[np.bool_], *, optimize: bool) -> Vectors:
    """MaxSim over padded documents [documents, tokens, width]."""
    products = np.einsum("qd,ntd->nqt", query, padded, optimize=optimize)
    scores: Vectors = np.where(mask[:, None, :], products, -np.inf).max(axis=2).sum(axis=1)
    return scores


def as_int8(vectors: Vectors) -> Vectors:
    """What eight bits with one scale per vector keep."""
    scale = np.abs(vectors).max(axis=1, keepdims=True) / 127
    return (np.round(vectors / scale) * scale).astype(np.float32)


def main() -> None:
    """Print times, and the loss of smaller vectors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=180)
    options = parser.parse_args()
    width = 128
    topics = normalized(np.random.default_rng(0).normal(size=(400, width)).astype(np.float32))
    documents = made(options.documents, options.tokens, width, topics, 1)
    queries = made(20, 32, width, topics, 2)
    query = queries[0]
    padded = np.zeros((len(documents), options.tokens, width), np.float32)
    mask = np.zeros(padded.shape[:2], bool)
    for row, vectors in enumerate(documents):
        padded[row, : len(vectors)] = vectors
        mask[row, : len(vectors)] = True
    ours = best_of(lambda: [maxsim(query, vectors) for vectors in documents])
    print(f"{len(documents)} documents, up to {options.tokens} x {width}, query {len(query)} x {width}")
    print(f"maxsim, document by document: {ours * 1e3:7.1f} ms")
    for optimize in (True, False):
        taken = best_of(lambda: einsum(query, padded, mask, optimize=optimize), 3)  # noqa: B023 called at once
        print(f"einsum, optimize={optimize!s:5}:       {taken * 1e3:7.1f} ms   ours / einsum = {ours / taken:.2f}")
    exact = np.array([[maxsim(one, vectors) for vectors in documents] for one in queries])
    assert np.abs(exact[0] - einsum(query, padded, mask, optimize=True)).max() < 1e-3
    for name, stored in (
        ("fp16", [vectors.astype(np.float16).astype(np.float32) for vectors in documents]),
        ("int8", [as_int8(vectors) for vectors in documents]),
    ):
        scores = np.array([[maxsim(one, vectors) for vectors in stored] for one in queries])
        moved = sum(list(np.argsort(-a)[:10]) != list(np.argsort(-b)[:10]) for a, b in zip(exact, scores, strict=True))
        largest = np.abs(scores - exact).max()
        print(f"{name} vectors: scores differ by up to {largest:.2g}; top 10 changed in {moved} of {len(queries)}")


if __name__ == "__main__":
    main()
