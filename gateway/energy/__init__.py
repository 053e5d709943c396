"""Pure arithmetic of energy: intervals, the solar split, tariff calendars."""
