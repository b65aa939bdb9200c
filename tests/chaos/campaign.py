"""Rounds of faults: an apply is hit, the host settles, is judged, and a resume or rollback finishes what is left."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.chaos import fleet as fleets
from tests.chaos import picture, strikes
from tests.chaos.agenda import Agenda
from tests.chaos.fleet import SHORTEST, Fleet
from tests.chaos.moments import Moment, Passed
from tests.chaos.picture import Picture, differences
from tests.chaos.strikes import Strike
from tests.chaos.verdict import Verdict, judge_resume
from tests.lab import processes
from tests.lab.host import Host

PATIENCE = 420.0  # seconds until a host has to have settled, on a busy machine
NOTHING: frozenset[str] = frozenset()
CONFIRMING = Moment("journal", "confirm will", 1)  # noted after the guard's last look at the containers


@dataclass(frozen=True)
class Hit:
    """What hit a host's apply: the kind of fault, when, and which containers it may cost.

    `moments` are those that were passed last, in what ansible says and in the journal; of a fault that hits one host
    alone, the one that it was for.
    """

    kind: str
    moments: tuple[Moment, ...]
    delay: float = 0.0
    cost: frozenset[str] = NOTHING

    def __str__(self) -> str:
        return " and ".join(map(str, self.moments)) + (f" +{self.delay}s" if self.delay else "")


class Campaign:
    """One fleet: its pictures before and after, the moments of its apply, and the rounds."""

    def __init__(self, fleet: Fleet, agenda: Agenda) -> None:
        self.fleet, self.agenda = fleet, agenda
        self.before: dict[str, Picture] = {}
        self.after: dict[str, Picture] = {}
        self.moments: dict[str, int] = {}  # how many an undisturbed apply has, by host

    def prepare(self) -> None:
        """Make the plan, and apply it undisturbed: its moments, and how the hosts are before and after."""
        one = self.fleet
        one.limit = fleets.LONGEST
        one.each(lambda host: fleets.populate(host, one.scenario))
        self.before = one.pictures()
        one.plan()
        process = one.start()
        self._watch(process, {})
        self.after = one.pictures()
        for name, host in one.hosts.items():
            moments = Passed(one).of(name)
            self.moments[name] = len(moments)
            self.agenda.learn(host.generation, moments)
            if not self.after[name].etc != self.before[name].etc:
                raise RuntimeError(f"{name}: the undisturbed apply did nothing: {one.said()}")
        one.limit = max(SHORTEST, round(1.5 * max(_longest_wait(seen) for seen in self.after.values())))
        one.say(f"undisturbed apply: {self.moments} moments; hosts go back by themselves after {one.limit} s")
        verdicts = {name: Verdict("none", host.generation, name, "", True) for name, host in one.hosts.items()}
        self._roll_back(verdicts, {})
        if bad := [problem for verdict in verdicts.values() for problem in verdict.problems]:
            raise RuntimeError(f"the undisturbed apply is not taken back: {bad}")

    def round(self, planned: dict[str, Strike], resume: bool) -> list[Verdict]:
        """One apply under these faults, by host; what became of each."""
        one = self.fleet
        one.plan()
        process = one.start()
        hits = self._watch(process, planned)
        verdicts = {name: Verdict("none", host.generation, name, "", False) for name, host in one.hosts.items()}
        for name, hit in hits.items():
            strike = f"{one.work} {one.round}" + ("" if hit.kind in strikes.EVERYWHERE else f" {name}")
            verdicts[name] = Verdict(hit.kind, one.hosts[name].generation, name, str(hit), True, strike)
        for timer in one.timers:
            timer.join()
        one.timers.clear()
        if resume:
            self._resume(verdicts)
        self._settle(verdicts)
        for name, seen in one.pictures().items():
            self._judge(verdicts[name], seen, hits[name].cost if name in hits else NOTHING)
            judge_resume(verdicts[name])
            if not verdicts[name].survived:
                words = ["journalctl", "--unit=docker", "--output=short-precise", "--no-pager", "--lines=300"]
                verdicts[name].daemon = one.hosts[name].run(words, check=False).stdout
        self._roll_back(verdicts, hits)
        for name, hit in hits.items():
            self.agenda.hit(hit.kind, one.hosts[name].generation, hit.moments)
        found = [verdict for verdict in verdicts.values() if verdict.hit]
        for verdict in found:
            where = f"{verdict.kind} at {verdict.moment} on {verdict.host}"
            told = "; ".join(verdict.problems) or "survived"
            one.say(f"{where}: wholly {verdict.state}, {told} [resume: {verdict.resumed or 'not tried'}]")
        return found

    def _watch(self, process: subprocess.Popen[bytes], planned: dict[str, Strike]) -> dict[str, Hit]:
        """Wait for the moments, and strike; what hit which host. What hits all of them hits those under way."""
        one, hits = self.fleet, dict[str, Hit]()
        deadline = time.monotonic() + PATIENCE
        left, passed = dict(planned), Passed(one)
        everywhere = any(strike.kind in strikes.EVERYWHERE for strike in planned.values())
        with ThreadPoolExecutor(len(one.hosts)) as pool:
            while process.poll() is None:
                for name in list(left):
                    if left[name].moment not in passed.of(name):
                        continue
                    strike = left.pop(name)
                    if everywhere:
                        left.clear()
                        hits = self._everywhere(strike, one.hosts[name], process, passed)
                        break
                    pool.submit(self._alone, strike, one.hosts[name], process, hits)
                if time.monotonic() > deadline:
                    one.say("the apply does not end, and is ended")
                    processes.kill(processes.descendants(process.pid))
                time.sleep(0.02)
        process.wait()
        return hits

    def _everywhere(
        self, strike: Strike, host: Host, process: subprocess.Popen[bytes], passed: Passed
    ) -> dict[str, Hit]:
        strikes.pause(strike.delay)
        hits = {
            name: Hit(strike.kind, last)
            for name, count in self.moments.items()
            if (last := passed.last(name)) and len(passed.of(name)) < count
        }
        moments = dict.fromkeys((strike.moment, *passed.last(host.name)))
        hits[host.name] = Hit(strike.kind, tuple(moments), strike.delay)
        return hits if strikes.strike(strike, host, self.fleet, process) else {}

    def _alone(self, strike: Strike, host: Host, process: subprocess.Popen[bytes], hits: dict[str, Hit]) -> None:
        """Strike one host; a guard that confirms no longer sees what ends containers, and brings nothing back."""
        strikes.pause(strike.delay)
        guarded = self.fleet.is_open(host.name)
        if strikes.strike(strike, host, self.fleet, process):
            confirming = CONFIRMING in Passed(self.fleet).of(host.name)
            guarded = guarded and not (confirming and strike.kind in ("dockerd", "reboot"))
            cost = NOTHING if guarded else self.fleet.scenario.lost_unguarded(strike.kind, confirming)
            hits[host.name] = Hit(strike.kind, (strike.moment,), strike.delay, cost)

    def _settle(self, verdicts: dict[str, Verdict]) -> None:
        """Wait until no guard works, the engine answers, and nothing restarts; who does not get there has failed."""
        deadline = time.monotonic() + PATIENCE

        def wait(host: Host) -> list[str]:
            calm = 0
            while True:
                if self.fleet.is_open(host.name) and time.monotonic() < deadline:
                    calm = 0
                    time.sleep(0.5)  # a look costs more than the waiting guard does
                    continue
                try:
                    seen = picture.take(host)
                    found = [*seen.left, *([] if seen.answers else ["the engine does not answer"])]
                    found += [f"{one} keeps restarting" for one in sorted(seen.restarting)]
                except Exception as error:  # a host that is being started, or that is gone for good
                    found = [str(error)[:300]]
                calm = 0 if found else calm + 1
                if calm > 1 or time.monotonic() > deadline:
                    return found
                time.sleep(1)

        for name, found in self.fleet.each(wait).items():
            verdicts[name].problems += [f"not settled: {one}" for one in found]

    def _judge(self, verdict: Verdict, seen: Picture, cost: frozenset[str], only_before: bool = False) -> None:
        before, after = self.before[verdict.host], self.after[verdict.host]
        verdict.journals = seen.runs
        from_before, from_after = differences(before, seen), differences(after, seen)
        if not from_before:
            verdict.state = verdict.state or "before"
        elif only_before:
            verdict.problems.append(f"rolled back, and not as before: {from_before}")
        elif not from_after:
            verdict.state = "after"
        else:
            verdict.state = "half"
            verdict.problems.append(f"half: from before {from_before}; from after {from_after}")
        lost = before.running - seen.running - cost
        if lost:
            verdict.problems.append(f"lost: {sorted(lost)}")
        if not seen.answers:
            verdict.problems.append("the engine does not answer")
        verdict.problems += [f"left: {one}" for one in seen.left]

    def _resume(self, verdicts: dict[str, Verdict]) -> None:
        """Go on at once with what the fault has stopped: a host is done then, or refuses with a reason."""
        one = self.fleet
        receipt = one.receipt()
        if not receipt or all(host["ok"] for host in receipt["hosts"]):
            return
        for host in receipt["hosts"]:
            verdicts[host["host"]["name"]].taken_back = bool(host.get("undone"))
        environment = one.environment()
        done = subprocess.run(
            one.apply("--resume"), capture_output=True, text=True, env=environment, cwd=one.work, check=False
        )
        for host in one.receipt()["hosts"]:
            verdict = verdicts[host["host"]["name"]]
            verdict.resumed = "done" if host["ok"] else "; ".join(host.get("errors", []))[:300]
            if not verdict.resumed or "Traceback" in done.stderr:
                verdict.problems.append(f"resume: {done.stderr[-500:]}")

    def _roll_back(self, verdicts: dict[str, Verdict], hits: dict[str, Hit]) -> None:
        """Every host goes back by a rollback, which has to bring it to where it was; what cannot is made anew."""
        one = self.fleet
        receipt = one.receipt()
        if receipt and any(host.get("run") or not host["ok"] for host in receipt["hosts"]):
            done = one.run("rollback", receipt["run"])
            self._settle(verdicts)
            for name, seen in one.pictures().items():
                sound = verdicts[name].survived
                cost = hits[name].cost if name in hits else NOTHING
                self._judge(verdicts[name], seen, cost, only_before=True)
                if sound and verdicts[name].problems:
                    verdicts[name].problems.append(f"rollback said: {done.stdout[-300:]} {done.stderr[-300:]}")
        one.each(self._reset)

    def _reset(self, host: Host) -> None:
        """Make sure that the next round begins where the first did."""
        fleets.once(host)
        host.run(["rm", "-rf", "/var/lib/remediator"])
        for name in ("web", "picky"):
            host.docker("start", name, check=False)
        seen = picture.take(host)
        name = host.name
        if differences(self.before[name], seen) or seen.left or self.before[name].running - seen.running:
            self.fleet.say(f"{name}: is thrown away and made anew")
            self.fleet.broken.append(name)


def _longest_wait(seen: Picture) -> float:
    """How long the guard of an undisturbed apply had to wait for its control machine, in seconds."""
    times = [json.loads(line) for text in seen.runs.values() for line in text.splitlines()]
    pairs = itertools.pairwise(times)
    return max((after["at"] - before["at"] for before, after in pairs if before["state"] == "did"), default=0.0)
