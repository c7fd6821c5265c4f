"""Many named tuples in little memory: one column per field in place of one object per value.

A record of 100 bytes takes 700 as a `Document`, a `Score` and their values, and under 250 here. It knows no field by
name, reads no file and orders nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Row = TypeVar("Row", bound=tuple[Any, ...])
BITS = 10
BLOCK = 1 << BITS  # rows whose values share columns
LONG = 2048  # bytes: joining values that are longer on average would save less than a fiftieth


class Rows(Sequence[Row]):
    """A sequence of named tuples of one class that only grows. Rows are made when they are asked for."""

    def __init__(self, kind: type[Row], rows: Iterable[Row] = ()) -> None:
        self._make: Callable[[Iterable[Any]], Row] = partial(tuple.__new__, kind)
        self._names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]  # of named tuples
        self._blocks: list[list[Sequence[Any]]] = []  # the columns of BLOCK rows each
        self._rest: list[Row] = []  # the rows behind them
        self._last: list[Sequence[Any]] = []  # their columns, made when they are asked for
        self.extend(rows)

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows at the end."""
        self._rest.extend(rows)
        whole = len(self._rest) & -BLOCK
        for start in range(0, whole, BLOCK):
            columns = list(zip(*self._rest[start : start + BLOCK], strict=True))
            before: Sequence[Sequence[Any]] = self._blocks[-1] if self._blocks else columns
            self._blocks.append(list(map(pack, columns, before)))
        del self._rest[:whole]
        self._last = []

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK + len(self._rest)

    def __iter__(self) -> Iterator[Row]:
        for block in self._blocks:
            yield from map(self._make, zip(*block, strict=True))
        yield from self._rest

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        positions = range(len(self))[place]
        return self.take([positions])[0] if isinstance(positions, int) else self.take(positions)

    def take(self, positions: Sequence[int]) -> list[Row]:
        """The rows at these positions."""
        return list(map(self._make, zip(*(self.column(name, positions) for name in self._names), strict=True)))

    def column(self, name: str, positions: Sequence[int] | None = None) -> list[Any]:
        """The values of one field: at these positions, or all."""
        field = self._names.index(name)
        if self._rest and not self._last:
            self._last = list(zip(*self._rest, strict=True))
        blocks = [*self._blocks, self._last] if self._rest else self._blocks
        if positions is None:
            return list(chain.from_iterable(block[field] for block in blocks))
        within = BLOCK - 1
        return [blocks[position >> BITS][field][position & within] for position in positions]


class _Bytes(Sequence[bytes]):
    """Byte strings, joined; `ends` begins with 0."""

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes, ends: Sequence[int]) -> None:
        self._data, self._ends = data, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: Any) -> Any:
        return self._data[self._ends[place] : self._ends[place + 1]]


class _Texts(_Bytes):
    """Texts, joined as UTF-8."""

    __slots__ = ()

    def __getitem__(self, place: Any) -> Any:
        return self._data[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogatepass")


def pack(values: tuple[Any, ...], before: Sequence[Any]) -> Sequence[Any]:
    """The smallest column that gives back these values, which are at least one.

    It is the column of the block before if that holds the same object throughout: a source, None, a default.
    """
    if constant(values):
        return before if constant(before) and before[0] is values[0] else values
    kinds = set(map(type, values))
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is float:
        return array("d", values)
    if kind is int:
        return array("q", values) if max(values) < 1 << 63 and min(values) >= -1 << 63 else values
    if kind is bytes or kind is str:
        return joined(values, kind)
    return values


def constant(values: Sequence[Any]) -> bool:
    """Whether all values are one object; not for numbers, where 0.0 equals -0.0."""
    first = values[0]
    return isinstance(values, tuple) and type(first) is not float and values.count(first) == len(values)


def joined(values: tuple[Any, ...], kind: type) -> Sequence[Any]:
    """Texts or byte strings as one; the values themselves if they are long."""
    whole = kind().join(values)
    if len(whole) > LONG * len(values):
        return values
    if kind is bytes:
        return _Bytes(whole, ends(values))
    if whole.isascii():
        return _Texts(whole.encode(), ends(values))
    encoded = [value.encode("utf-8", "surrogatepass") for value in values]
    return _Texts(b"".join(encoded), ends(encoded))


def ends(values: Sequence[Any]) -> Sequence[int]:
    """Where each value ends when they are joined, behind a 0."""
    return array("I", accumulate(map(len, values), initial=0))


def take(rows: Sequence[Row], positions: Sequence[int]) -> list[Row]:
    """The rows at these positions, of `Rows` or of any other sequence."""
    if isinstance(rows, Rows):
        return rows.take(positions)
    # In C, because a million rows show.
    return list(itemgetter(*positions)(rows)) if len(positions) > 1 else [rows[position] for position in positions]


def column(rows: Sequence[Row], name: str, positions: Sequence[int] | None = None) -> list[Any]:
    """The values of one field, of `Rows` or of any other sequence: at these positions, or all."""
    if isinstance(rows, Rows):
        return rows.column(name, positions)
    return [getattr(row, name) for row in (rows if positions is None else take(rows, positions))]
