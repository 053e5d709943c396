"""The verdict on paper: a table where there is a terminal, plain lines elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulators.judge.verdict import TOO_SLOW_MS, Finding, SessionLine, Verdict


def print_verdict(verdict: Verdict, console: Console | None = None) -> None:
    """Print sessions, findings and the last word."""
    console = console or Console(highlight=False)
    if console.is_terminal:
        console.print(sessions_table(verdict.sessions))
        console.print(findings_table(verdict.findings))
    else:
        for line in (*map(session_text, verdict.sessions), *map(finding_text, verdict.findings)):
            console.print(Text(line), soft_wrap=True)
    console.print(
        f"time bounds widened by {verdict.widened_ms / 1000:.2f} s site time "
        f"(longest stall {verdict.stall_ms:.1f} ms x {verdict.speed:g})",
        soft_wrap=True,
    )
    console.print(Text(last_word(verdict)), soft_wrap=True)


def last_word(verdict: Verdict) -> str:
    """One sentence."""
    if verdict.too_slow:
        return f"machine too slow: it stalled for {verdict.stall_ms:.0f} ms, allowed are {TOO_SLOW_MS:.0f} ms"
    broken = [finding.invariant for finding in verdict.findings if not finding.holds]
    if broken or not verdict.findings:
        return f"broken: {', '.join(broken) or 'nothing was judged'}"
    return "all invariants hold"


def finding_text(finding: Finding) -> str:
    """One line per finding."""
    figures = ", ".join(f"{name} {value}" for name, value in finding.figures.items())
    first = f" | {_first(finding)}" if not finding.holds else ""
    return f"{finding.invariant:<5} {'holds' if finding.holds else 'BROKEN'}: {finding.title} | {figures}{first}"


def _first(finding: Finding) -> str:
    more = f" (and {finding.violations - 1} more)" if finding.violations > 1 else ""
    return finding.first_violation + more


def session_text(line: SessionLine) -> str:
    """One line per session."""
    classes = " ".join(f"{name} {wh}" for name, wh in line.classes_wh.items())
    return (
        f"session {line.charger} {line.id_tag} {line.tenant} {line.begin_wh} -> {line.end_wh} Wh: "
        f"{line.energy_wh} Wh = solar {line.solar_wh} {classes} | {_mark(line)}"
    )


def _mark(line: SessionLine) -> str:
    return "ok" if line.good else line.why


def findings_table(findings: tuple[Finding, ...]) -> Table:
    """Invariant, holds, figures."""
    table = Table(title="The judge", show_lines=True)
    table.add_column("")
    table.add_column("invariant", ratio=2)
    table.add_column("holds", justify="center")
    table.add_column("figures", ratio=3)
    for finding in findings:
        figures = ", ".join(f"{name} {value}" for name, value in finding.figures.items())
        cell = Text(figures)
        if not finding.holds:
            cell.append(f"\n{_first(finding)}", style="bold red")
        mark = Text("yes", style="green") if finding.holds else Text("NO", style="bold red")
        table.add_row(finding.invariant, finding.title, mark, cell)
    return table


def sessions_table(sessions: tuple[SessionLine, ...]) -> Table:
    """Tenant, registers, energy, solar, classes, verdict."""
    classes = sorted({name for line in sessions for name in line.classes_wh})
    table = Table(title="Sessions as the cloud has them, Wh")
    for name in (
        "charger",
        "tenant",
        "card",
        "begin UTC",
        "end UTC",
        "begin register",
        "end register",
        "energy",
        "solar",
    ):
        table.add_column(name, justify="right" if "register" in name or name in ("energy", "solar") else "left")
    for name in classes:
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for line in sessions:
        numbers = (line.begin_wh, line.end_wh, line.energy_wh, line.solar_wh)
        table.add_row(
            line.charger, line.tenant, line.id_tag, line.begin[11:19], line.end[11:19],
            *("-" if number is None else str(number) for number in numbers),
            *(str(line.classes_wh.get(name, 0)) for name in classes),
            Text(_mark(line), style="green" if line.good else "red"),
        )  # fmt: skip
    return table
