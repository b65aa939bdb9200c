"""Which faults come next: each kind at each moment of an apply, before one comes again."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.moments import Moment
from tests.chaos.strikes import ALONE, EVERYWHERE, KINDS, Strike

Cell = tuple[str, Moment]  # a kind of fault at a moment
TRIES = 2  # how often what hits nothing is tried: there is no guard to kill before it has begun
DELAYS = (0.0, 0.05, 0.3, 1.0)  # seconds after the moment, where the moment itself was tried already


class Agenda:
    """The faults of some kinds that are left, for all fleets of a campaign.

    They are at least `wanted`, and each cell where `every_step`.
    """

    def __init__(self, seed: int, wanted: int, every_step: bool = False, kinds: Sequence[str] = KINDS) -> None:
        self.kinds = kinds
        self._chance = random.Random(seed)
        self._wanted, self._every_step = wanted, every_step
        self._lock = threading.Lock()
        self._moments: dict[str, set[Moment]] = {}  # by generation
        self._hit: Counter[Cell] = Counter()
        self._tried: Counter[Cell] = Counter()
        self._on: Counter[tuple[str, Moment]] = Counter()  # by generation
        self.count = 0

    def learn(self, generation: str, moments: Iterable[Moment]) -> None:
        """Take up the moments that an undisturbed apply passes on a host of a generation."""
        with self._lock:
            self._moments.setdefault(generation, set()).update(moments)

    def ended(self) -> bool:
        """Whether enough faults have hit."""
        with self._lock:
            return self.count >= self._wanted and not (
                self._every_step and any(not self._past(*one) for one in self._cells(self.kinds))
            )

    def more(self, hosts: Mapping[str, str]) -> dict[str, Strike]:
        """The strikes of one round, by host, for hosts whose generations are given: one for all of them, or one each.

        Where every step is to be hit all are of one kind, since a fault that takes long holds up what others have hit.
        """
        with self._lock:
            kind = min(self.kinds, key=self._progress)
            if kind in EVERYWHERE:
                name = self._chance.choice(list(hosts))
                return {name: self._strike(kind, hosts[name])}
            kinds = [kind] if self._every_step else [one for one in ALONE if one in self.kinds]
            return {name: self._strike(min(kinds, key=self._progress), hosts[name]) for name in hosts}

    def hit(self, kind: str, generation: str, moments: Iterable[Moment]) -> None:
        """Count a fault that has hit a host at moments."""
        with self._lock:
            self.count += 1
            for moment in moments:
                self._hit[kind, moment] += 1
                self._on[generation, moment] += 1

    def steps(self, kind: str) -> str:
        """At how many of the moments a kind of fault has hit, as "51/52"."""
        cells = self._cells([kind])
        return f"{sum(self._hit[one] > 0 for one in cells)}/{len(cells)}"

    def steps_on(self, generation: str) -> str:
        """How many of the moments of a generation were hit, by whatever, as "51/52"."""
        moments = self._moments[generation]
        return f"{sum(self._on[generation, one] > 0 for one in moments)}/{len(moments)}"

    def missed(self) -> list[str]:
        """What was not hit, as "guard at task begins Look at the host"."""
        return [f"{kind} at {moment}" for kind, moment in self._cells(self.kinds) if not self._hit[kind, moment]]

    def _cells(self, kinds: Iterable[str]) -> list[Cell]:
        every = sorted(set[Moment]().union(*self._moments.values()))
        return [(kind, moment) for kind in kinds for moment in every]

    def _past(self, kind: str, moment: Moment) -> int:
        """How often a cell was hit, or, where nothing is to be hit, has been tried often enough."""
        return self._hit[kind, moment] or self._tried[kind, moment] // TRIES

    def _progress(self, kind: str) -> tuple[int, float, float]:
        """How far a kind has got: how often each moment was hit at least, and the share of those that were hit more."""
        past = [self._past(*one) for one in self._cells([kind])]
        tried = [self._tried[one] for one in self._cells([kind])]
        least = min(past)
        return least, sum(one > least for one in past) / len(past), sum(tried) / len(tried)

    def _strike(self, kind: str, generation: str) -> Strike:
        def rank(moment: Moment) -> tuple[float, ...]:
            cell = kind, moment
            return self._past(*cell), self._tried[cell], self._on[generation, moment], self._chance.random()

        moment = min(sorted(self._moments[generation]), key=rank)
        delay = self._chance.choice(DELAYS) if self._tried[kind, moment] else 0.0
        self._tried[kind, moment] += 1
        return Strike(kind, moment, delay)
