"""Files for people: sessions, intervals, slips, proofs; watt-hours, never money (reference: docs/exports.md)."""
