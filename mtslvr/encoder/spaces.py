"""The embedding spaces of a model: which columns of an embedding each of its heads is (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

NAMES = ("combined", "invariant", "variant")


class Spaces(Mapping[str, int]):
    """Name of each space -> its number of features D: {"combined": 1000, "invariant": 500, "variant": 500}.

    "combined" is the invariant head's columns, then the variant head's. A model with one head has "combined" alone.

    Args:
        n_invariant, n_variant: features of each head; n_variant is 0 for a model with one head.
    """

    def __init__(self, n_invariant: int, n_variant: int = 0) -> None:
        self._columns = {"combined": slice(0, n_invariant + n_variant)}
        if n_invariant and n_variant:
            self._columns["invariant"] = slice(0, n_invariant)
            self._columns["variant"] = slice(n_invariant, n_invariant + n_variant)

    @classmethod
    def of(cls, width: int, n_invariant: int) -> Spaces:
        """Those of embeddings of `width` columns, the first `n_invariant` of them the invariant head's; 0 or all: one head."""
        return cls(width) if n_invariant in (0, width) else cls(n_invariant, width - n_invariant)

    def __getitem__(self, space: str) -> int:
        columns = self._columns[space]
        return columns.stop - columns.start

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return repr(dict(self))

    def columns(self, space: str) -> slice:
        """The columns of "combined" that a space is.

        Raises:
            ValueError: there is no such space.
        """
        if space not in self._columns:
            raise ValueError(f"space is {space!r}; this model has {', '.join(map(repr, self))}")
        return self._columns[space]

    def heads(self, space: str = "combined") -> dict[str, slice]:
        """The columns of "combined" of each head that a space consists of; of a model with one head, "combined" alone.

        Raises:
            ValueError: there is no such space.
        """
        if space != "combined" or len(self) == 1:
            return {space: self.columns(space)}
        return {head: self._columns[head] for head in ("invariant", "variant")}

    def numbers(self, space: str) -> tuple[int, ...]:
        """The numbers of those heads in the network: 0 is the invariant head, 1 the variant one.

        Raises:
            ValueError: there is no such space.
        """
        return tuple(int(head == "variant") for head in self.heads(space))
