"""Logging: events with keys, one line each, on standard error; the journal or the container keeps them."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_KEYS = frozenset({"password", "secret", "authorization", "id_tag"})


def configure(*, plain: bool | None = None) -> None:
    """Set up structlog for this process: JSON lines, or readable ones where a person watches."""
    for_a_person = sys.stderr.isatty() if plain is None else plain
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if for_a_person else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[_redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries speak through the standard logger: their warnings are kept, their chatter is not.
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(name)s: %(message)s")


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cards and passwords never stand in a log in full (data protection)."""
    for key in SECRET_KEYS & event.keys():
        text = str(event[key])
        event[key] = f"...{text[-4:]}" if key == "id_tag" and len(text) > 4 else "***"
    return event
