"""Tests against a real dockerd of their own."""
