"""Tests of what a newcomer meets first: the demo, the examples, the README, the package."""
