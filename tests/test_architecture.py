"""The drawing of ARCHITECTURE.md is true: imports run one way, pure files are pure, and time has one home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GATEWAY = ROOT / "gateway"
SIMULATORS = ROOT / "simulators"

LEVELS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("site_time",),
    ("site", "clock"),
    ("site_text", "site_file"),
    ("secrets", "control", "health", "log", "operations"),
)
"""Modules below the parts, from the ground up. A module imports its own level or a lower one."""

PARTS: tuple[tuple[str, ...], ...] = (
    ("store", "records", "energy"),
    ("sessions",),
    ("web", "cloud", "load", "ocpp", "meters", "export"),
)
"""The parts, from the ground up. Those of one level never import one another."""

TOP = ("app", "cli", "command", "events", "right_time", "world", "__main__")

PURE_BY_DESIGN = (
    "ocpp/frames.py", "ocpp/relay.py", "ocpp/v16.py", "ocpp/offline.py", "ocpp/profiles.py", "ocpp/upstreams.py",
    "load/circuits.py", "load/allocate.py", "load/surplus.py",
    "meters/registers.py", "meters/poll_plan.py", "meters/quality.py",
    "energy/intervals.py", "energy/split.py", "energy/tariff.py",
    "sessions/session.py",
    "records/ocmf.py", "records/verify.py",
    "cloud/envelope.py", "cloud/outbox.py",
)  # fmt: skip
"""The starred files of the design; those that do not exist yet are skipped."""

IMPURE = frozenset({
    "asyncio", "concurrent", "fcntl", "http", "io", "logging", "multiprocessing", "os", "pathlib", "secrets",
    "select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "uuid", "urllib.request", "aiosqlite", "apsw", "paho", "pymodbus", "rich", "serial", "structlog", "typer",
    "websockets",
})  # fmt: skip

CLOCK_CALLS = frozenset({
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep",
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today",
})  # fmt: skip
CLOCK_HOMES = frozenset({
    "gateway/clock.py",
    "simulators/clock.py",
    # They start and end processes of this machine: how long that takes is real seconds, whatever the site's clock does.
    "simulators/broker.py",
    "simulators/demo/runner.py",
})  # fmt: skip

COMMAND_LINE = ("command", "cli", "__main__")


def files(folder: Path) -> list[Path]:
    """Every Python file of a folder."""
    return sorted(folder.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, *, typing_too: bool = True) -> Iterator[str]:
    """Full names of everything that a file imports, also inside its functions."""
    skipped = set() if typing_too else {id(node) for node in _only_for_types(tree(path))}
    for node in ast.walk(tree(path)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _only_for_types(module: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(module):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from (inner for statement in node.body for inner in ast.walk(statement))


def own_imports(path: Path) -> Iterator[str]:
    """The first name below `gateway` of everything of ours that a file imports: `store`, `model`, ..."""
    for name in imports(path):
        words = name.split(".")
        if words[0] == "gateway" and len(words) > 1 and words[1] != "__version__":
            yield words[1]


def part_of(path: Path) -> str:
    """`store` for gateway/store/database.py, `app` for gateway/app.py."""
    words = path.relative_to(GATEWAY).parts
    return words[0].removesuffix(".py")


def allowed(part: str) -> set[str]:
    """Everything that a part may import."""
    ground = {name for level in LEVELS for name in level}
    for number, level in enumerate(LEVELS):
        if part in level:
            return {name for lower in LEVELS[: number + 1] for name in lower}
    for number, parts in enumerate(PARTS):
        if part in parts:
            # Nothing above `site` and `clock` but the parts below it: what a part needs is handed to it.
            return {"model", "site_time", "site", "clock", part} | {name for lower in PARTS[:number] for name in lower}
    assert part in TOP, f"gateway/{part} has no place in the architecture: give it one in this test and the drawing"
    return ground | {name for parts in PARTS for name in parts} | set(TOP)


@pytest.mark.parametrize("path", files(GATEWAY), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """app -> operations -> parts -> sessions -> {store records energy} -> {site clock} -> model; never back."""
    part = part_of(path)
    if part == "__init__":
        assert not set(own_imports(path))
        return
    foreign = set(own_imports(path)) - allowed(part)
    assert not foreign, f"{path.relative_to(ROOT)} imports {sorted(foreign)}"


def test_the_test_of_directions_sees_a_fault(tmp_path: Path) -> None:
    """The test above can fail: a meter file that imports the store's neighbour part is found."""
    assert "ocpp" not in allowed("meters")
    assert "store" in allowed("sessions")
    assert "sessions" not in allowed("store")
    assert "records" not in allowed("store")
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from gateway.ocpp import side\n    import gateway.cloud.mqtt\n")
    assert set(own_imports(file)) == {"ocpp", "cloud"}


def is_pure(path: Path) -> bool:
    """Does the file say that it is pure?"""
    return (ast.get_docstring(tree(path)) or "").startswith("Pure:")


PURE_FILES = [path for path in files(GATEWAY) if is_pure(path)]


def test_the_starred_files_of_the_design_say_that_they_are_pure() -> None:
    """Each of them that exists opens its docstring with `Pure:`."""
    loose = [name for name in PURE_BY_DESIGN if (GATEWAY / name).exists() and not is_pure(GATEWAY / name)]
    assert not loose
    assert PURE_FILES


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_files_do_no_io_and_know_no_clock(path: Path) -> None:
    """No module that touches the world, and of ours only words and other pure files."""
    names = set(imports(path, typing_too=False))
    touched = {name for name in names if {name, name.split(".")[0], name.rpartition(".")[0]} & IMPURE}
    assert not touched, f"{path.relative_to(ROOT)} imports {sorted(touched)}"
    assert not draws(tree(path)), f"{path.relative_to(ROOT)}: randomness is handed in"
    for name in names - {"gateway.clock.iso"}:
        module = _module_file(name)
        known = module is None or is_pure(module) or module.name in ("model.py", "site.py", "bodies.py")
        assert known, f"{path.relative_to(ROOT)} imports {name}, which is not pure"


def draws(module: ast.Module) -> list[str]:
    """Calls of the module `random`; its class Random may be named, as the type of what is handed in."""
    called = (ast.unparse(node.func) for node in ast.walk(module) if isinstance(node, ast.Call))
    return [name for name in called if name.startswith("random.") or name in ("Random", "SystemRandom")]


def test_the_test_of_purity_sees_a_fault() -> None:
    """A draw from the module is found, one from an argument of another name is not."""
    assert draws(ast.parse("import random\nrandom.random()\n")) == ["random.random"]
    assert draws(ast.parse("def f(rng: random.Random): return rng.random()\n")) == []


def _module_file(name: str) -> Path | None:
    """gateway.load.circuits.tree_of -> gateway/load/circuits.py."""
    words = name.split(".")
    for count in range(len(words), 1, -1):
        candidate = ROOT.joinpath(*words[:count]).with_suffix(".py")
        if candidate.exists():
            return candidate
    return None


def test_simulators_import_nothing_of_the_gateway() -> None:
    """They cannot share its mistakes. A sabotage runs inside the gateway's process and is its only exception."""
    guilty = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(SIMULATORS)
        if "sabotages" not in path.parts
        for name in imports(path)
        if name.split(".")[0] == "gateway"
    ]
    assert not guilty


def test_the_gateway_knows_nothing_of_simulators_tests_or_sabotage() -> None:
    """It is the same program in the demonstration and in a cellar."""
    for path in files(GATEWAY):
        assert not [name for name in imports(path) if name.split(".")[0] in ("simulators", "tests", "benchmarks")], path
        assert "sabotage" not in path.read_text(encoding="utf-8").lower(), path


@pytest.mark.parametrize("folder", [GATEWAY, SIMULATORS], ids=lambda folder: folder.name)
def test_only_the_clock_reads_the_machine_s_clock(folder: Path) -> None:
    """Site time comes from the clock that is handed in, link time from the event loop."""
    guilty = []
    for path in files(folder):
        name = str(path.relative_to(ROOT))
        if name in CLOCK_HOMES:
            continue
        guilty += [f"{name}:{line} {call}" for line, call in clock_calls(tree(path))]
        guilty += [f"{name} imports {one}" for one in imports(path) if one in CLOCK_CALLS]
    assert not guilty


def clock_calls(module: ast.Module) -> list[tuple[int, str]]:
    """Where a module mentions the machine's clock, by a call or as a value."""
    return [
        (node.lineno, ast.unparse(node))
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCK_CALLS
    ]


def test_the_test_of_clocks_sees_a_fault() -> None:
    """A clock handed on as a value is found as well as a call."""
    assert clock_calls(ast.parse("import time\nfield(default_factory=time.monotonic)\n")) == [(2, "time.monotonic")]
    assert clock_calls(ast.parse("from datetime import datetime\ndatetime.now(UTC)\n")) == [(2, "datetime.now")]


def test_typer_and_rich_are_the_command_line_s_alone() -> None:
    """The daemon never loads them: they cost it 20 MB."""
    guilty = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(GATEWAY)
        if part_of(path) not in COMMAND_LINE
        for name in imports(path)
        if name.split(".")[0] in ("typer", "rich", "aiosqlite")
    ]
    assert not guilty


def test_everything_is_written_small() -> None:
    """A file beyond 450 lines hides a second subject."""
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in (GATEWAY, SIMULATORS)
        for path in files(folder)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long
