"""Pure: what a person says with an act, out of the arguments that came: words, and who they are."""

from __future__ import annotations

from typing import Any

MAX_CHARS = 500


def words(args: dict[str, Any], name: str, default: str | None = None) -> str:
    """One argument that must be there. ValueError with its name."""
    value = args.get(name, default)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_CHARS:
        raise ValueError(f"{name}: is missing, or no text of at most {MAX_CHARS} characters")
    return value


def person(args: dict[str, Any], actor: str) -> str:
    """Who does it. A name that the caller gives stands beside the way it came: nobody can pass for somebody else."""
    name = words(args, "actor", actor)
    return name if name == actor else f"{name} via {actor}"
