"""How long the program takes, against the bare tools that do the same work: python -m tests.bench."""
