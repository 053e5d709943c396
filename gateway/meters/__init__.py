"""Meters over Modbus: models as data, one task per bus, readings that are exact or missing."""
