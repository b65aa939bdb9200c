"""Predicted against real: what a plan says that a change breaks, and what the change then breaks."""
