"""The ZEV gateway: wallboxes, fuses, meters, sessions and their solar share in one apartment building."""

__version__ = "0.1.0"
