"""Pure: on which line of a TOML text each table and key stands; the parser of the standard library does not say.

It reads texts that tomllib has already accepted, so it follows the grammar without checking it
(https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""Keys and positions in arrays: ("charger", 1, "connector", 0, "max_a")."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Places:
    """Line numbers (from 1) by path."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        _Scanner(text, self._lines).document()

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest table around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]


class _Scanner:
    """One pass over the text; `_at` is the next character, `_line` its line."""

    def __init__(self, text: str, lines: dict[Path, int]) -> None:
        self._text = text
        self._lines = lines
        self._at = 0
        self._line = 1
        self._counts: dict[Path, int] = {}

    def document(self) -> None:
        prefix: Path = ()
        while self._skip_blank():
            if self._text.startswith("[[", self._at):
                prefix = self._header("[[", "]]")
            elif self._text[self._at] == "[":
                prefix = self._header("[", "]")
            else:
                self._key_and_value(prefix)

    def _header(self, opening: str, closing: str) -> Path:
        line = self._line
        self._advance(len(opening))
        keys = self._dotted_key(closing)
        self._advance(len(closing))
        path = (*self._resolve(keys[:-1]), keys[-1])
        if opening == "[[":
            position = self._counts[path] = self._counts.get(path, -1) + 1
            self._lines.setdefault(path, line)
            path = (*path, position)
        elif path in self._counts:
            path = (*path, self._counts[path])
        self._lines.setdefault(path, line)
        return path

    def _resolve(self, keys: list[str]) -> Path:
        """A header under an array of tables belongs to the newest table of the array."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._counts:
                path = (*path, self._counts[path])
        return path

    def _key_and_value(self, prefix: Path) -> None:
        line = self._line
        path = prefix
        for key in self._dotted_key("="):
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._advance(1)
        self._value(path)

    def _dotted_key(self, closing: str) -> list[str]:
        keys = []
        while True:
            self._skip_spaces()
            keys.append(self._key())
            self._skip_spaces()
            if self._text.startswith(closing, self._at):
                return keys
            self._advance(1)  # the dot

    def _key(self) -> str:
        if self._text[self._at] in "\"'":
            return self._string()
        match = _BARE_KEY.match(self._text, self._at)
        assert match is not None, "tomllib accepted the text"
        self._advance(len(match.group()))
        return match.group()

    def _value(self, path: Path) -> None:
        self._skip_blank()
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\n":
                self._advance(1)

    def _array(self, path: Path) -> None:
        self._advance(1)
        position = 0
        while self._skip_blank() and self._text[self._at] != "]":
            if self._text[self._at] == ",":
                self._advance(1)
                continue
            self._lines[(*path, position)] = self._line
            self._value((*path, position))
            position += 1
        self._advance(1)

    def _inline_table(self, path: Path) -> None:
        self._advance(1)
        while self._skip_blank() and self._text[self._at] != "}":
            if self._text[self._at] == ",":
                self._advance(1)
            else:
                self._key_and_value(path)
        self._advance(1)

    def _string(self) -> str:
        """Skip a string of any of the four kinds; its content, for keys."""
        quote = self._text[self._at]
        ending = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._advance(len(ending))
        start = self._at
        while not self._text.startswith(ending, self._at):
            self._advance(2 if quote == '"' and self._text[self._at] == "\\" else 1)
        while len(ending) == 3 and self._text.startswith(ending, self._at + 1):
            self._advance(1)  # up to two quotes may stand right before the closing three
        content = self._text[start : self._at]
        self._advance(len(ending))
        return _ESCAPED.sub(r"\1", content) if quote == '"' else content

    def _skip_spaces(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in " \t":
            self._advance(1)

    def _skip_blank(self) -> bool:
        """Skip white space, line ends and comments; False at the end of the text."""
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "#":
                end = self._text.find("\n", self._at)
                self._advance((end if end >= 0 else len(self._text)) - self._at)
            elif character in " \t\r\n":
                self._advance(1)
            else:
                return True
        return False

    def _advance(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count
