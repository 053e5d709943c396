"""On which line of a TOML text each key stands, whatever stands around it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.site_text.toml_places import Places

TEXT = '''\
# [not.a.table]
title = "a # no comment [x]"
long = """
[not] = "here"
\\""" ""
"""
raw = \'\'\'
[[nor]]
\'\'\'
"quoted key" = 'C:\\'
dotted.key.inside = 1

[table]
list = [
    1,  # one
    [2, 3],
    { a = 1, b = "}" },
]

[[box]]
id = 1
[[box.plug]]
id = 11
[[box.plug]]
id = 12
[box.extra]
x = 1

[[box]]
id = 2
[[box.plug]]
id = 21
'''

EXPECTED = {
    ("title",): 2,
    ("long",): 3,
    ("raw",): 7,
    ("quoted key",): 10,
    ("dotted", "key", "inside"): 11,
    ("table",): 13,
    ("table", "list"): 14,
    ("table", "list", 0): 15,
    ("table", "list", 1, 1): 16,
    ("table", "list", 2, "b"): 17,
    ("box", 0, "id"): 21,
    ("box", 0, "plug", 1, "id"): 25,
    ("box", 0, "extra", "x"): 27,
    ("box", 1): 29,
    ("box", 1, "plug", 0, "id"): 32,
}


@pytest.mark.parametrize(("path", "line"), EXPECTED.items(), ids=str)
def test_each_key_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    """Strings with brackets, nested arrays, tables below arrays of tables."""
    tomllib.loads(TEXT)
    assert Places(TEXT).line(path) == line


def test_what_is_not_there_has_the_line_of_the_table_around_it() -> None:
    """A missing key is reported where it should stand."""
    places = Places(TEXT)
    assert places.line(("box", 1, "colour")) == 29
    assert places.line(("nothing", "at", "all")) == 1


VALUES = st.sampled_from(
    ["1", "-1.5e3", '"a]b"', '"\\""', "'#'", "true", "2026-07-01T10:00:00Z", "07:00:00", "[]", "{}", '[ "x", ["]"] ]',
     '{ a = { b = [1, 2] } }', '"""\n=\n"""', "'''\n''x'''", '[\n1, # ]\n]']
)  # fmt: skip


@given(st.lists(st.tuples(VALUES, st.sampled_from(["", "\n", "# x = 1\n", "  "])), max_size=12))
def test_any_text_that_tomllib_reads_is_followed_to_its_end(values: list[tuple[str, str]]) -> None:
    """Every key of a generated text is found on the line on which it was written."""
    text = ""
    expected = {}
    for number, (value, before) in enumerate(values):
        text += before
        expected[f"key{number}"] = text.count("\n") + 1
        text += f"key{number} = {value}\n"
    tomllib.loads(text)
    places = Places(text)
    assert {key: places.line((key,)) for key in expected} == expected
