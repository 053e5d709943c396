"""The demonstration: a building of six wallboxes on a Saturday at noon, with the real gateway as a separate process."""
