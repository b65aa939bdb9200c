"""Findings -> plan: what will be changed, what is held and why, and the steps that make it so."""
