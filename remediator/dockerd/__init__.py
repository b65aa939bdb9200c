"""What dockerd takes: its options by engine generation, its command line, and whether it would start. All pure."""
