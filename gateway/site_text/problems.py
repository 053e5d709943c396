"""Pure: what is wrong in a site file, each with its line, its place and a hint; pydantic's findings in our words."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gateway.site_text.toml_places import Path, Places


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong: `place` names the table and key, `sentence` what is wrong, `hint` the remedy."""

    line: int
    place: str
    sentence: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        line = f"line {self.line}: " if self.line else ""
        return f"{line}{self.place}: {self.sentence}{hint}"


class SiteProblems(Exception):  # noqa: N818 - it carries all of them, and they are the file's
    """A site file that cannot be used, with everything that is wrong in it, in the order of the lines."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(set(problems)))
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """The first problem, and how many more there are."""
        more = max(0, len(self.problems) - 1)
        rest = f" - and {more} more, see zev-gateway check" if more else ""
        return f"{self.file}, {self.problems[0]}{rest}"


class Findings:
    """Collects problems of one text; turns a path into a line and into words."""

    def __init__(self, raw: Mapping[str, Any], places: Places) -> None:
        self._raw = raw
        self._places = places
        self.problems: list[Problem] = []

    def add(self, path: Path, sentence: str, hint: str = "") -> None:
        """Something is wrong at `path`."""
        self.problems.append(Problem(self._places.line(path), self._words(path), sentence, hint))

    def line(self, path: Path) -> int:
        """The line of `path`."""
        return self._places.line(path)

    def add_invalid(self, path: Path, model: type[BaseModel], error: ValidationError) -> None:
        """Everything that pydantic found in the table at `path`."""
        for detail in error.errors(include_url=False):
            self._add_detail(path, model, detail)

    def _add_detail(self, path: Path, model: type[BaseModel], detail: Mapping[str, Any]) -> None:
        location: Path = tuple(part for part in detail["loc"] if part not in _INSIDE_UNION)
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "extra_forbidden":
            known = known_keys(model, location[:-1])
            self.add(path + location, "is not a known key", _nearest(str(location[-1]), known))
        elif kind == "missing":
            self.add(path + location, "is missing")
        elif kind == "literal_error":
            expected = context["expected"].replace("'", '"').replace(" or ", ", ")
            choices = [choice.strip().strip('"') for choice in expected.split(",")]
            given = detail["input"]
            hint = _meant(given, choices) if isinstance(given, str) else ""
            self.add(path + location, f"must be one of {expected}, not {_shown(given)}", hint)
        elif kind == "value_error":
            self._add_own(path, location, str(context["error"]), detail["input"])
        else:
            sentence = _TYPES.get(kind) or _LIMITS.get(kind, "{message}").format(message=detail["msg"], **context)
            self.add(path + location, f"{sentence}, not {_shown(detail['input'])}")

    def _add_own(self, path: Path, location: Path, sentence: str, given: Any) -> None:
        """A check of the grammar itself; one that looked at several keys begins with the key and a colon."""
        key, colon, rest = sentence.partition(": ")
        if colon and key.isidentifier():
            self.add((*path, *location, key), rest)
        else:
            self.add(path + location, f"{sentence}, not {_shown(given)}")

    def _words(self, path: Path) -> str:
        """`[[charger]] "box3", max_a` for ("charger", 2, "max_a")."""
        words: list[str] = []
        node: Any = self._raw
        for depth, part in enumerate(path):
            node = _step(node, part)
            if isinstance(part, int):
                name = node.get("id") if isinstance(node, dict) else None
                words[-1] += f' "{name}"' if isinstance(name, str | int) else f" number {part + 1}"
            elif isinstance(node, dict) and depth == 0:
                words.append(f"[{part}]")
            elif isinstance(node, list) and node and isinstance(node[0], dict) and depth < len(path) - 1:
                words.append(f"[[{'.'.join(str(name) for name in path[: depth + 1] if isinstance(name, str))}]]")
            else:
                words.append(str(part))
        return ", ".join(words) or "the file"


_INSIDE_UNION = frozenset({"function-after", "function-before", "constrained-str"})
_TYPES = {
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list in [ ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be a path that begins with /",
}
_LIMITS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "may name at most {max_length}",
}


def known_keys(model: type[BaseModel], inner: Path) -> list[str]:
    """The keys that a file may write in `model`, or in the table inside it that `inner` leads to."""
    for part in inner:
        if isinstance(part, str):
            field = next((f for name, f in model.model_fields.items() if (f.alias or name) == part), None)
            below = _model_in(field.annotation) if field else None
            if below is None:
                return []
            model = below
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union, types.UnionType):
        return next((found for found in map(_model_in, get_args(annotation)) if found), None)
    return None


def nearest(given: str, known: Iterable[str]) -> str:
    """`did you mean ...?`, or the list of what is known."""
    return _nearest(given, list(known))


def _nearest(given: str, known: list[str]) -> str:
    return _meant(given, known) or (f"known are {', '.join(sorted(known))}" if known else "")


def _meant(given: str, known: list[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1, cutoff=0.6)
    return f'did you mean "{by_lower[close[0]]}"?' if close else ""


def _step(node: Any, part: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(part)  # type: ignore[arg-type, unused-ignore]
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return None


def _shown(value: Any) -> str:
    """What the file says there, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else "a table" if isinstance(value, dict) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
