"""Charging sessions: the tracker that reads the journal, the settlement of quarter hours."""
