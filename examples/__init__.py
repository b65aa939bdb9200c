"""The example host, what this program says of it, and the programs that make both."""
