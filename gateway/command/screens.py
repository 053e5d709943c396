"""What a person sees: tables and sentences for the command line, never for the daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from gateway.command.addresses import url_of
from gateway.command.checkup import Checkup
from gateway.command.verification import Verification
from gateway.sessions.reasons import phrase

WIDTH_WITHOUT_TERMINAL = 200
"""In a file or a pipe nothing should be cut or wrapped."""

RESTORED_STEP = (
    "Sessions between that copy and then must be checked by hand; records are signed with a new key since. "
    'Once you have: zev-gateway epoch confirm --reason "..."'
)

NEWEST_EVENTS = 10


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False, soft_wrap=False)


def show_check(file: str, found: Checkup) -> None:
    """Every problem, or who may still charge without the gateway."""
    console = _console()
    for problem in found.problems:
        console.print(escape(f"{file}, {problem}"), soft_wrap=True)
    if found.site is None:
        return
    if not found.problems:
        chargers, meters = len(found.site.chargers), len(found.site.meters)
        console.print(escape(f"{file}: no problem; {chargers} chargers, {meters} meters"), soft_wrap=True)
    console.print("\nIf the gateway dies:")
    for sentence in found.alone:
        console.print(escape(f"  {sentence}"), soft_wrap=True)


def show_status(status: dict[str, Any]) -> None:
    """Live state, in the order in which an installer needs it: addresses, who was refused, chargers, and the rest."""
    console = _console()
    kind = ", SIMULATION" if status.get("simulation") else ""
    console.print(
        escape(
            f"{status.get('site')} ({status.get('gw')}{kind}), {status.get('now')}, time: {status.get('time_quality')}"
        )
    )
    for sentence in status.get("problems", []):
        console.print(escape(f"NOT WELL: {sentence}"), style="bold red")
    _show_addresses(console, status)
    _show_refused(console, status.get("refused", []))
    _show_rows(console, "Connectors", status.get("connectors", []), {
        "connector": lambda row: row.get("id"),
        "connected": lambda row: "yes" if row.get("connected") else "NO",
        "status": lambda row: row.get("status"),
        "limit": lambda row: _amperes(row.get("limit_a")),
        "draws L1/L2/L3": lambda row: _phases(row.get("draw_a")),
        "alone": lambda row: _amperes(row.get("fallback_a")),
        "why": lambda row: row.get("reason_text") or row.get("reason"),
    })  # fmt: skip
    _show_rows(console, "Circuits", status.get("circuits", []), {
        "circuit": lambda row: row.get("id"),
        "limit": lambda row: _amperes(row.get("limit_a")),
        "load L1/L2/L3": lambda row: _phases(row.get("load_a")),
        "house L1/L2/L3": lambda row: _phases(row.get("house_a")),
        "age": lambda row: _seconds(row.get("age_s")),
        "": lambda row: "OVER" if row.get("over") else "",
    })  # fmt: skip
    _show_rows(console, "Meters", status.get("meters", []), {
        "meter": lambda row: row.get("id"),
        "model": lambda row: row.get("model"),
        "bus": lambda row: row.get("bus"),
        "age": lambda row: "LOST" if row.get("lost") else _seconds(row.get("age_s")),
        "serial": lambda row: row.get("serial"),
        "import": lambda row: _kwh(row.get("import_wh")),
        "power": lambda row: None if row.get("power_w") is None else f"{row['power_w']} W",
        "timeouts": lambda row: row.get("timeouts"),
        "rejected": lambda row: row.get("rejected"),
    })  # fmt: skip
    _show_rows(console, "Backends (CSMS)", status.get("upstreams", []), {
        "charger": lambda row: row.get("charger"),
        "backend": lambda row: row.get("upstream"),
        "connected": lambda row: "yes" if row.get("connected") else "NO",
        "queue": lambda row: row.get("queue"),
        "parked": lambda row: row.get("parked"),
        "oldest": lambda row: _seconds(row.get("oldest_s")),
    })  # fmt: skip
    _show_bills(console, status.get("sessions", {}), status.get("split", {}))
    _show_cloud(console, status.get("cloud", {}))
    _show_events(console, status.get("events", []))


def _show_addresses(console: Console, status: dict[str, Any]) -> None:
    """One line per charger and network of this machine."""
    console.print("\nEach wallbox must be given its address:")
    chargers = dict.fromkeys(row["id"].rpartition("/")[0] for row in status.get("connectors", []))
    for charger in chargers or ["CHARGER-ID"]:
        urls = [url_of(url, charger) for url in status.get("addresses", [])]
        console.print(escape(f"  {charger}: {' or '.join(urls)}"), soft_wrap=True)


def _show_events(console: Console, events: list[dict[str, Any]]) -> None:
    """The newest warnings and errors: what happened, and what to do."""
    loud = [event for event in events if event.get("severity") in ("warning", "error")]
    if not loud:
        return
    console.print("\nLately:")
    for (_, cause), alike in list(_alike(loud).items())[-NEWEST_EVENTS:]:
        subjects = ", ".join(dict.fromkeys(str(event.get("subject")) for event in alike))
        times = f" ({len(alike)} times)" if len(alike) > 1 else ""
        following = f"\n    next: {alike[-1]['next_step']}" if alike[-1].get("next_step") else ""
        console.print(
            escape(f"  {alike[-1].get('at')}{times} {_short(subjects, 100)}: {_short(cause, 300)}{following}"),
            soft_wrap=True,
        )


def _alike(events: list[dict[str, Any]]) -> dict[tuple[Any, str], list[dict[str, Any]]]:
    """Events that say the same, of whatever, in the order of the last of each: twenty boxes must not hide one line."""
    groups: dict[tuple[Any, str], list[dict[str, Any]]] = {}
    for event in events:
        key = (event.get("kind"), str(event.get("cause")))
        groups[key] = [*groups.pop(key, []), event]
    return groups


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _show_refused(console: Console, refused: list[dict[str, Any]]) -> None:
    for row in refused:
        console.print(
            escape(
                f"\nREFUSED {_short(str(row.get('identity') or '(no name)'), 60)} from {row.get('address')} "
                f"at {row.get('at')}: {row.get('why')}\n  next: {row.get('next_step')}"
                + (f"\n  address for the box: {_short(row['url'], 120)}" if row.get("url") else "")
            ),
            style="yellow",
            soft_wrap=True,
        )


def _show_bills(console: Console, sessions: dict[str, Any], split: dict[str, Any]) -> None:
    """What goes on, what waits for a person, and how far the split is."""
    if not sessions and not split:
        return
    waiting = sessions.get("unbillable", 0)
    decide = f"; {waiting} wait for a decision: zev-gateway sessions --undecided" if waiting else ""
    console.print(f"\nSessions: {len(sessions.get('open', []))} go on, {sessions.get('ended', 0)} have ended{decide}")
    newest = split.get("last_interval")
    provisional = f"; {split['provisional']} provisional" if split.get("provisional") else ""
    console.print(f"Quarter hours: settled to that of {newest or '-'}{provisional}")


def _show_cloud(console: Console, cloud: dict[str, Any]) -> None:
    if not cloud.get("configured"):
        console.print("\nCloud: none configured, everything is kept here")
        return
    backlog = ", ".join(f"{lane} {count}" for lane, count in cloud.get("backlog", {}).items()) or "empty"
    state = "connected" if cloud.get("connected") else f"NOT CONNECTED ({cloud.get('why') or 'unknown why'})"
    console.print(
        escape(f"\nCloud: {state}; backlog: {backlog}; last receipt: {_seconds(cloud.get('last_ack_s')) or '-'}")
    )
    if cloud.get("restored"):
        console.print(
            escape(
                f"An old copy of the database came back: the cloud found it at {cloud['restored']}. {RESTORED_STEP}"
            ),
            style="bold red",
            soft_wrap=True,
        )
    elif checked := cloud.get("restored_checked"):
        line = f"An old copy came back at {checked['restored']}; checked by {checked['actor']}: {checked['reason']}"
        console.print(escape(line), soft_wrap=True)


def show_sessions(rows: list[dict[str, Any]], zone: ZoneInfo) -> None:
    """One line per session: the begin of its id, who, when, both registers, what the sun gave."""
    console = _console()
    if not rows:
        console.print("no sessions")
        return
    classes = sorted({name for row in rows for name in (row["split"] or {}).get("classes_wh", {})})
    columns: dict[str, Any] = {
        "session": lambda row: row["id"][:8],
        "begin": lambda row: _local(row["begin"], zone),
        "end": lambda row: _local(row["end"], zone) or row["state"],
        "connector": lambda row: row["connector"],
        "tenant": lambda row: row["tenant"],
        "register at begin": lambda row: _kwh(row["begin_wh"]),
        "register at end": lambda row: _kwh(row["end_wh"]),
        "Wh": lambda row: (row["decision"] or row)["energy_wh"],
        "solar Wh": lambda row: (row["split"] or {}).get("solar_wh"),
    }
    for name in classes:
        columns[f"{name} Wh"] = lambda row, name=name: (row["split"] or {}).get("classes_wh", {}).get(name)
    columns["remark"] = _remark
    _show_rows(console, f"Sessions ({zone.key})", rows, columns)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error where a person looks; None where nobody does."""
    if not sys.stderr.isatty():
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_verification(found: Verification) -> None:
    """Each record that is not what it must be, or that all are."""
    console = _console()
    for record, what in (*found.problems, *found.notes):
        console.print(escape(f"{record}: {what}"), soft_wrap=True)
    wrong = len({record for record, _ in found.problems})
    console.print(f"{found.records} records, {f'{wrong} of them wrong' if wrong else 'all as they were signed'}")


def show_meter_keys(keys: list[dict[str, Any]]) -> None:
    """The public keys of chargers' meters, by connector, oldest first."""
    if not keys:
        _console().print("no key of a charger's meter is known")
        return
    _show_rows(_console(), "Meter keys", keys, {
        "connector": lambda row: f"{row['charger']}/{row['connector']}",
        "serial": lambda row: row["serial"] or "any",
        "state": lambda row: row["state"],
        "from": lambda row: row["from"],
        "to": lambda row: row["to"],
        "source": lambda row: row["source"],
        "who": lambda row: row["who"] or None,
        "SubjectPublicKeyInfo (hex)": lambda row: row["spki_hex"],
    })  # fmt: skip


def show_keys(keys: list[dict[str, Any]]) -> None:
    """The public keys, oldest first."""
    console = _console()
    _show_rows(console, "Public keys", keys, {
        "key": lambda row: row["key_id"],
        "algorithm": lambda row: row["algorithm"],
        "valid from": lambda row: row["valid_from"] or None,
        "valid to": lambda row: row.get("valid_to") or None,
        "": lambda row: "SIMULATION" if row["simulation"] else "",
    })  # fmt: skip
    _show_hex(console, ((row["key_id"], row["spki_hex"]) for row in keys))


def _show_hex(console: Console, keys: Iterable[tuple[str, str]]) -> None:
    """Each key on a line of its own, to be copied whole."""
    console.print("\nSubjectPublicKeyInfo (hex):")
    for name, spki in keys:
        console.print(escape(f"  {name}: {spki}"), soft_wrap=True)


def _remark(row: dict[str, Any]) -> str | None:
    decision = row["decision"]
    if decision:
        return f"{'billed' if decision['bill'] else 'waived'} by {decision['actor']}: {decision['reason']}"
    if row["state"] == "ended" and not row["billable"]:
        return f"not billable: {phrase(row['unbillable_reason'])}"
    return "split provisional" if row["split"] and row["split"]["state"] != "final" else None


def _show_rows(console: Console, title: str, rows: Iterable[dict[str, Any]], columns: dict[str, Any]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (value(row) for value in columns.values())
        table.add_row(*("-" if cell is None else escape(str(cell)) for cell in cells))
    if table.row_count:
        console.print()
        console.print(table)


def _local(utc: str | None, zone: ZoneInfo) -> str | None:
    return None if utc is None else datetime.fromisoformat(utc).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _kwh(energy_wh: int | None) -> str | None:
    return None if energy_wh is None else f"{energy_wh // 1000}.{energy_wh % 1000:03d} kWh"


def _amperes(value: float | None) -> str | None:
    return None if value is None else f"{value:g} A"


def _phases(values: list[float] | None) -> str | None:
    return None if values is None else " / ".join(f"{value:.1f}" for value in values)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} s"
