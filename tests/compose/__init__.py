"""Compose files as people write them, patched, and held against an independent reader."""
