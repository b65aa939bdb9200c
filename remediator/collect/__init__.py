"""From a host to evidence: the one probe, and where it runs."""
