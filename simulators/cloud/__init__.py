"""The reference cloud: stores each record once, commits, and only then acknowledges (docs/cloud/)."""
