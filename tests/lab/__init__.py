"""Throwaway Docker servers on one machine: systemd, dockerd, sshd and an address each, without a VM.

A server is a set of namespaces over an overlay root file system.  A lab is a network namespace with
a bridge in it, and the servers on that bridge.  Nothing of the machine's own network is touched, and
`Lab.down()` takes everything away again, also after a crash.

    python -m tests.lab up --hosts 3      servers to try the project on
    python -m tests.lab down --all
"""
