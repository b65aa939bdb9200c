"""Results for people (text) and for machines (JSON)."""
