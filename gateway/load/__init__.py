"""Sharing the current: circuits, allocation, the control loop."""
