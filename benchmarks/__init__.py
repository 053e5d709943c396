"""Measurements, as ratios against a floor of the same run; these machines are shared, absolutes mean little."""
