"""The judge: says from outside evidence alone whether the gateway kept what it must (design section 6)."""

from simulators.judge.bench import judge
from simulators.judge.report import print_verdict
from simulators.judge.verdict import Finding, SessionLine, Verdict

__all__ = ["Finding", "SessionLine", "Verdict", "judge", "print_verdict"]
