"""`check`: the site file, the fuses when every box is alone, and the secrets; `run` begins with the same questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gateway.load.circuits import alone_report, problems_when_alone
from gateway.secrets import Secrets, secret_problems
from gateway.site import Site
from gateway.site_file import Problem, SiteProblems, load_site
from gateway.site_text.toml_places import Places


@dataclass(frozen=True)
class Checkup:
    """What was found. `site` is None where the file itself is wrong."""

    site: Site | None
    problems: list[Problem] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    """What happens when the gateway dies: a sentence each."""

    def sentence(self) -> str:
        """The first problem, and how many more there are."""
        more = len(self.problems) - 1
        return f"{self.problems[0]}" + (f" - and {more} more, see zev-gateway check" if more else "")


def check_up(path: Path) -> Checkup:
    """Everything that can be known before the start."""
    try:
        site = load_site(path)
    except SiteProblems as found:
        return Checkup(None, list(found.problems))
    secrets = [Problem(0, "the secrets", sentence) for sentence in secret_problems(site, Secrets.beside(path))]
    return Checkup(site, _fuse_problems(site, path) + secrets, list(alone_report(site)))


def _fuse_problems(site: Site, path: Path) -> list[Problem]:
    """Fallbacks that do not fit, each at the line of the circuit that it names."""
    sentences = list(problems_when_alone(site))
    if not sentences:
        return []
    places = Places(path.read_text(encoding="utf-8-sig"))
    lines = {f'circuit "{circuit.id}"': places.line(("circuit", n)) for n, circuit in enumerate(site.circuits)}
    return [
        Problem(
            next((line for name, line in lines.items() if sentence.startswith(name)), 0),
            "fallback_a",
            sentence,
        )
        for sentence in sentences
    ]
