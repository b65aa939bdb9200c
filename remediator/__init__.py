"""Brings Docker hosts to a hardened baseline and keeps them there."""

__version__ = "0.1.0"
