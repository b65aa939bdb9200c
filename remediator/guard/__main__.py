"""The guard's command line, as playbooks, timers and the next boot call it."""

from __future__ import annotations

import json
import os
import signal
import sys

from .activate import activate, confirm, place
from .begin import begin
from .files import Document, GuardError
from .store import Store
from .undo import boot, expire, undo


def main(words: list[str], given: Document = None, home: str = "") -> int:
    """`begin` with its document on standard input, or `activate|confirm|expire|status RUN`, `place RUN INDEX`,
    `undo RUN [REASON]`, or `boot`.

    `home` is the guard's directory, by default that in which it stands. Prints one JSON document; 1 and a sentence
    on standard error where something failed.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that is cut does not stop it half-way
    command, names = words[0], words[1:]
    try:
        if command == "begin":
            print(json.dumps(begin(given if given is not None else json.load(sys.stdin))))
            return 0
        store = Store(home or os.path.dirname(os.path.abspath(__file__)))
        if command == "boot":
            boot(store)
            return 0
        if command == "expire":
            expire(store, names[0])
            return 0
        if command == "undo":
            with store.locked(600):
                done = undo(store, store.run(names[0]), " ".join(names[1:]) or "it was asked for")
        elif command == "place":
            done = place(store, names[0], names[1])
        elif command == "status":
            done = dict(store.run(names[0]).result or {"outcome": "open"}, current=store.current())
        else:
            done = {"activate": activate, "confirm": confirm}[command](store, names[0])
        print(json.dumps(done))
        return 1 if done.get("errors") else 0
    except (GuardError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], globals().get("given")))
