"""A fault campaign on real servers: applies that are hit at every step, and hosts with bad configurations.

python -m tests.chaos --faults 200 --configs 40
"""
