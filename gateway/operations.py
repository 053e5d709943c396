"""What can be asked of a site. The cloud, the command line and later the web page only translate to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Operation = Callable[[dict[str, Any], str], Awaitable[dict[str, Any]]]


class Operations:
    """A table of named operations; whoever asks, the answer is the same."""

    def __init__(self) -> None:
        self._table: dict[str, Operation] = {}

    def add(self, name: str, operation: Operation) -> None:
        """Offer `operation` under `name`."""
        self._table[name] = operation

    async def execute(self, op: str, args: dict[str, Any], actor: str) -> dict[str, Any]:
        """Carry out one operation. ValueError or LookupError with one sentence where it cannot be."""
        operation = self._table.get(op)
        if operation is None:
            raise LookupError(f"unknown operation {op!r}: known are {', '.join(sorted(self._table))}")
        return await operation(args, actor)


def merge_by_id(*lists: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join rows of several parts that speak of the same thing, in the order of the first list."""
    merged: dict[str, dict[str, Any]] = {}
    for rows in lists:
        for row in rows:
            merged.setdefault(row["id"], {}).update(row)
    return list(merged.values())
