# SPDX-License-Identifier: Apache-2.0
"""Jobs and when they arrive: the built-in traces, and those of a file.

The built-in ones are Poisson arrivals at a rate that changes with time; the
lengths of the jobs are drawn from a log-normal distribution.
"""

import csv
import math
import random
from dataclasses import dataclass

from simulator.broker import Job
from simulator.settings import SettingsError

MINUTE, DAY = 60.0, 86400.0
YEAR = 366 * DAY


@dataclass(frozen=True)
class Shape:
    help: str
    seconds: float
    rate: object  # (seconds, peak per minute) -> arrivals per minute; never above the peak


def _burst(_time, peak):
    return peak


def _step(time, peak):
    return peak if 10 * MINUTE <= time < 40 * MINUTE else peak / 10


def _spike(time, peak):
    return peak if 10 * MINUTE <= time < 11 * MINUTE else peak / 20


def _week(time, peak):
    return _day(time, peak) if time < 5 * DAY else peak / 10


def _day(time, peak):
    return peak * (0.1 + 0.9 * math.sin(math.pi * time / DAY) ** 2)


SHAPES = {
    "burst": Shape("the peak rate for half an hour, out of nothing", 30 * MINUTE, _burst),
    "minute": Shape("the peak rate for one minute, out of nothing", MINUTE, _burst),
    "step": Shape("a tenth of the peak; the peak from the 10th to the 40th minute; a tenth again", 50 * MINUTE, _step),
    "spike": Shape("a twentieth of the peak, and in the 11th minute the peak", 30 * MINUTE, _spike),
    "day": Shape("from a tenth of the peak at midnight to the peak at noon and back, as a sine", DAY, _day),
    "week": Shape("five such days from Monday on, and two at a tenth of the peak", 7 * DAY, _week),
}


class Trace:
    """Built in. Of several kinds each has the same share. rate: the peak of all, per minute. cv: standard deviation of
    the lengths over their mean. limit: no job is longer (the time limit of an attempt ends it)."""

    def __init__(self, name, kinds, rate=1000.0, job_seconds=20.0, cv=0.5, limit=math.inf, seed=1):
        self.name, self.seconds, self.kinds = name, SHAPES[name].seconds, list(kinds)
        self._rate, self._shape, self._seed = rate, SHAPES[name].rate, seed
        self._limit = limit
        self._sigma = math.sqrt(math.log(1 + cv * cv))
        self._mu = math.log(job_seconds) - self._sigma ** 2 / 2

    def jobs(self):
        dice = random.Random(f"{self._seed}/trace {self.name}")
        time, kinds, shape, peak = 0.0, self.kinds, self._shape, self._rate
        while True:
            time += dice.expovariate(peak / MINUTE)
            if time >= self.seconds:
                return
            if dice.random() * peak < shape(time, peak):  # thinned from the peak down to the rate of this moment
                yield Job(time, min(self._limit, dice.lognormvariate(self._mu, self._sigma)),
                          kinds[0] if len(kinds) == 1 else dice.choice(kinds))


class FileTrace:
    """A CSV file with the columns `arrived` and `seconds`, and, where there are several kinds, `kind`."""

    def __init__(self, path, kind):
        self.name = str(path)
        self._rows = sorted(_rows(path, kind))
        self.kinds = sorted({row[2] for row in self._rows})
        self.seconds = self._rows[-1][0]

    def jobs(self):
        for arrived, seconds, kind in self._rows:
            yield Job(arrived, seconds, kind)


def _rows(path, kind):
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"arrived", "seconds"} <= set(reader.fieldnames or ()):
                raise SettingsError(f"{path}: its first line has to name the columns arrived and seconds")
            rows = []
            for row in reader:
                try:
                    arrived, seconds = float(row["arrived"]), float(row["seconds"])
                    if not (0 <= arrived <= YEAR and 0 < seconds <= YEAR):
                        raise ValueError
                except (TypeError, ValueError):
                    raise SettingsError(f"{path}, line {reader.line_num}: arrived and seconds are to be numbers, not "
                                        "negative, and within a year") from None
                rows.append((arrived, seconds, row.get("kind") or kind))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} is no CSV file: {error}") from error
    if not rows:
        raise SettingsError(f"{path}: no job in it")
    return rows
