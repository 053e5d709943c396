"""Simulated peers that speak the wire only; they import nothing of the gateway."""
