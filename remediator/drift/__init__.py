"""Drift: how a host differs from its last receipts, and its correction on a schedule."""
