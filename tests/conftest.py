"""What every test shares: hypothesis never judges by the clock of a shared machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("zev", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zev")
