"""A scenario on a host of the lab: bring it up, make the change, see whether what runs there still works."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence

from tests.impact.scenario import Container, Recreate, Scenario
from tests.lab.host import Host
from tests.lab.processes import until

PATIENCE = 10  # seconds in which what works has to show it
SETTLED = 2.5  # seconds after a change from which on it has to
_PLACE = re.compile(r"\{(ip|name):([\w-]+)\}")
SETUID = """\
docker image inspect busybox:setuid >/dev/null 2>&1 && exit 0
docker rm --force make-setuid >/dev/null 2>&1
docker run --name make-setuid busybox:local sh -c \
  'chmod 4755 /bin/busybox; echo root::0:0::/root:/bin/sh >/etc/passwd; echo app:x:1000:1000::/:/bin/sh >>/etc/passwd'
docker commit --change 'CMD ["/bin/idle"]' make-setuid busybox:setuid && docker rm make-setuid
"""


class Stage:
    """One scenario's containers on a host."""

    def __init__(self, host: Host, scenario: Scenario) -> None:
        self.host, self.scenario = host, scenario

    def name(self, container: str) -> str:
        """What a container of the scenario is called on the host."""
        return f"{self.scenario.id}-{container}"

    def _fill(self, text: str) -> str:
        """A text with what the engine knows of containers put in."""

        def known(match: re.Match[str]) -> str:
            kind, name = match.group(1), self.name(match.group(2))
            if kind == "name":
                return name
            form = '{{(index .NetworkSettings.Networks "bridge").IPAddress}}'
            return self.host.docker("inspect", "--format", form, name).stdout.strip()

        return _PLACE.sub(known, text)

    def _words(self, options: Sequence[str]) -> list[str]:
        return [self._fill(word) for one in options for word in one.split()]

    def _run(self, one: Container, options: Sequence[str]) -> None:
        command = ["sh", "-c", self._fill(one.script)] if one.script else []
        words = [
            "run",
            "--detach",
            "--name",
            self.name(one.name),
            *self._words(options),
            self._fill(one.image),
            *command,
        ]
        self.host.docker(*words, check=False)  # one that cannot start any more is broken, which shows

    def shell(self, script: str, timeout: float = 60) -> bool:
        """Run a script of the scenario on the host; whether it succeeded."""
        return self.host.run(["sh", "-c", self._fill(script)], check=False, timeout=timeout).returncode == 0

    def begin(self) -> None:
        """Prepare the host and start the containers."""
        self.host.load_image()
        if any(one.image == "busybox:setuid" for one in self.scenario.containers):
            self.host.run(["sh", "-c", SETUID])
        if self.scenario.prepare:
            self.host.run(["sh", "-c", self.scenario.prepare])
        for one in self.scenario.containers:
            self._run(one, one.options)

    def recreate(self) -> None:
        """Make containers anew with other options, as their owner would."""
        known = {one.name: one for one in self.scenario.containers}
        for one in self.scenario.recreate:
            if one.before:
                self.shell(one.before)
            self.host.docker("rm", "--force", self.name(one.container))
            self._run(known[one.container], changed(known[one.container].options, one))
        if self.scenario.then:
            self.shell(self.scenario.then)

    def works(self, settled: float = SETTLED) -> bool:
        """Whether the work goes on: seen within the time that it has for it, from a moment after now on."""
        time.sleep(settled)
        if self.scenario.probe:
            return until(lambda: self.shell(self.scenario.probe, timeout=30), PATIENCE, pause=0.5)
        since = self.host.run(["date", "-u", "+%Y-%m-%dT%H:%M:%S.%N"]).stdout.strip() + "Z"
        words = ("logs", "--since", since, self.name(self.scenario.logs))
        return until(lambda: "ok" in self.host.docker(*words, check=False).stdout.split(), PATIENCE, pause=0.5)

    def end(self) -> None:
        """Take the containers away, and what was prepared."""
        for one in self.scenario.containers:
            self.host.docker("rm", "--force", "--volumes", self.name(one.name), check=False)
        if self.scenario.undo:
            self.shell(self.scenario.undo)

    def trouble(self) -> str:
        """What the containers say last, for whoever looks why a scenario does not begin."""
        told = []
        for one in self.scenario.containers:
            state = self.host.docker("inspect", "--format", "{{json .State}}", self.name(one.name), check=False).stdout
            logs = self.host.docker("logs", "--tail", "3", self.name(one.name), check=False)
            found = json.loads(state or "{}")
            told.append(f"{one.name}: {found.get('Status')} {found.get('Error')} {logs.stdout}{logs.stderr}".strip())
        return " | ".join(told)


def changed(options: Sequence[str], how: Recreate) -> list[str]:
    """Options of `docker run` with some taken away and others added; what is to be taken away has to be there."""
    assert set(how.drop) <= set(options), f"not among the options: {set(how.drop) - set(options)}"
    return [one for one in options if one not in how.drop] + how.add
