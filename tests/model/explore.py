# SPDX-License-Identifier: Apache-2.0
"""Visits every state that a scenario can reach, and judges each of them.

A scenario is a small fleet and a budget of faults. The search is breadth
first, so the first violation has a shortest trace. What is judged:

  N  an accepted job that has not ended has a message, an outbox entry or a holder
  1  at most one result is accepted, and only from the owner of the fence
  E  accepted = pending + in-progress + retrying + completed + failed + cancelled,
     and the live columns equal the records
  C  a job whose cancel was confirmed does not complete
  L  a live owner with a live lease keeps its job
  B  a retrying job does not run before it is due
  T  from every state, with no more faults, the end of each accepted job can be reached
"""

import argparse
import sys
import time
from typing import NamedTuple

from contract import COLUMNS, LIVE, RULES, column
from weather import steps
from world import Scenario, carried, ended, start


SCENARIOS = {
    'crashes': Scenario({'crash worker': 2, 'crash gateway': 1, 'lose channel': 1, 'lose confirm': 1}, 3),
    'submit': Scenario({'crash gateway': 1, 'refuse publish': 1, 'lose confirm': 1, 'lose reply': 1, 'expire record': 1}, 3, (0, 0)),
    'broker': Scenario({'crash broker': 1, 'lose channel': 1, 'lose confirm': 1, 'lose reply': 1, 'run lease over': 1, 'crash worker': 1}, 3),
    'client': Scenario({'cancel': 1, 'retry': 1, 'permanent error': 1, 'expire record': 1, 'lose confirm': 1, 'pass deadline': 1, 'crash gateway': 1}, 4),
    'errors': Scenario({'transient error': 2, 'lose executor': 1, 'lose confirm': 1, 'crash worker': 1, 'lose reply': 1, 'cancel': 1, 'retry': 1}, 4),
    'drain': Scenario({'drain': 2, 'run lease over': 1, 'lose confirm': 1, 'crash worker': 1}, 3),
    'ladder': Scenario({'transient error': 2, 'lose ladder copy': 1, 'crash worker': 1}, 3),
    'rollback': Scenario({'roll back redis': 1, 'crash worker': 1, 'lose channel': 1, 'lose confirm': 1}, 2),
    'flush': Scenario({'flush redis': 1, 'crash worker': 1, 'lose channel': 1, 'lose confirm': 1}, 2),
    'two jobs': Scenario({'crash worker': 1, 'lose channel': 1}, 1, (0, 1)),
}


class Report(NamedTuple):
    states: int
    seconds: float
    broken: str                           # '' when every rule held
    trace: tuple                          # (label, world) from the start
    is_whole: bool                        # all states were visited


def judge(world, scenario) -> str:
    """The safety rules in one state; '' when they hold."""
    redis, ghost = world.redis, world.ghost
    if ghost.foul:
        return ghost.foul
    live = [column(record) for record in redis.records]
    if redis.counts[0] != sum(redis.counts[1:]) or any(
            redis.counts[COLUMNS.index(state)] != live.count(state) for state in LIVE):
        return 'E: the counters do not add up'
    for job, record in enumerate(redis.records):
        if len(ghost.results[job]) > 1 and not ghost.excused[job]:
            return f'1: two results of job {job} were accepted'
        if ghost.cancelled[job] and record and record.state == 'completed':
            return f'C: job {job} was cancelled and completed'
        if ghost.accepted[job] and not ghost.excused[job] and not ended(world, job) and not carried(world, job):
            kept = record and record.state == 'retrying' and record.kept and 'lose ladder copy' in scenario.faults
            if not kept:
                return f'N: job {job} was accepted, has not ended, and nobody has its message'
    return ''


def explore(scenario, rules, most=10**9) -> Report:
    began = time.monotonic()
    first = start(scenario)
    number, parents, frontier, free = {first: 0}, [None], [first], [[]]
    worlds = [first]

    def trace(at):
        path = []
        while parents[at] is not None:
            path.append((parents[at][1], worlds[at]))
            at = parents[at][0]
        return tuple(reversed(path))

    def report(broken='', at=0, is_whole=True):
        return Report(len(worlds), time.monotonic() - began, broken, trace(at), is_whole)

    at = 0
    while at < len(worlds):
        world = worlds[at]
        for label, fault, after in steps(world, rules):
            to = number.get(after)
            if to is None:
                to = number[after] = len(worlds)
                worlds.append(after)
                parents.append((at, label))
                free.append([])
                broken = judge(after, scenario)
                if broken:
                    return report(broken, to)
            if not fault:
                free[to].append(at)       # backwards: who gets here without a fault
        at += 1
        if len(worlds) > most:
            return report(is_whole=False)

    goal = [at for at, world in enumerate(worlds) if all(
        ended(world, job) or world.ghost.excused[job] or not world.ghost.accepted[job]
        for job in range(len(world.redis.records)))]
    reached = bytearray(len(worlds))
    for at in goal:
        reached[at] = 1
    while goal:
        for before in free[goal.pop()]:
            if not reached[before]:
                reached[before] = 1
                goal.append(before)
    stuck = reached.find(0)
    return report('T: an accepted job can no longer end', stuck) if stuck >= 0 else report()


def describe(world):
    records = ', '.join('none' if r is None else f'{r.state}' + (f' fence {r.fence}' if r.fence else '')
                        for r in world.redis.records)
    return f'[{records}]'


def print_trace(report, out=sys.stdout):
    for n, (label, world) in enumerate(report.trace, 1):
        print(f'{n:4}  {label:<70} {describe(world)}', file=out)
    print(f'      => {report.broken}', file=out)


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('name', nargs='*')
    parser.add_argument('--without', default='')
    parser.add_argument('--limit', type=int)
    parser.add_argument('--most', type=int, default=10**9)
    args = parser.parse_args()
    rules = frozenset(RULES) - set(filter(None, args.without.split(',')))
    for n in args.name or SCENARIOS:
        s = SCENARIOS[n]
        s = s._replace(limit=args.limit or s.limit)
        r = explore(s, rules, args.most)
        print(f'{n}: {r.states} states, {r.seconds:.1f} s, {r.broken or "holds"}{"" if r.is_whole else " (cut)"}', flush=True)
        if r.broken:
            print_trace(r)
