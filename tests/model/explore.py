# SPDX-License-Identifier: Apache-2.0
"""Visits every state that a scenario can reach, and judges each of them.

The search is breadth first, so the first violation has a shortest history.

  N  an accepted job that has not ended has a message, an outbox entry or a holder
  1  at most one result is accepted, and only from the owner of the fence
  E  accepted = pending + in-progress + retrying + completed + failed + cancelled,
     and the live columns equal the records
  C  a job whose cancel was confirmed does not complete
  L  a live owner with a live lease keeps its job
  B  a retrying job does not run before it is due
  G  a parent ends once, completed only with the results of all its members, failed only by one of them
  T  from every state, with no more faults, the end of each accepted job can be reached

N, 1 and T excuse a job whose writer and Redis were both lost, as the contract does.
"""

import argparse
import sys
import time
from typing import NamedTuple

from contract import COLUMNS, LIVE, RULES, TERMINAL, column
from scenarios import LARGE, LIMITS, STANDARD
from weather import steps
from world import Scenario, World, carried, ended, start


class Report(NamedTuple):
    states: int
    seconds: float
    broken: str                           # '' when everything held
    trace: tuple[tuple[str, World], ...]  # the history of what broke: (label, world after it)
    is_whole: bool                        # no state was left out


def judge(world: World, scenario: Scenario) -> str:
    """The safety rules in one state; '' when they hold."""
    redis, ghost = world.redis, world.ghost
    if ghost.foul:
        return ghost.foul
    live = [column(record) for record in redis.records]
    counts = dict(zip(COLUMNS, redis.counts))
    if counts['accepted'] != sum(redis.counts[1:]) or any(counts[state] != live.count(state) for state in LIVE):
        return 'E: the counters do not add up'
    for job, record in enumerate(redis.records):
        if ghost.cancelled[job] and record and record.state == 'completed':
            return f'C: job {job} was cancelled and completed'
        if not ghost.accepted[job] or ghost.excused[job]:
            continue
        if len(ghost.results[job]) > 1:
            return f'1: two results of job {job} were accepted'
        # With classic delay queues the kept input is the second copy of what the ladder may lose.
        kept = record and record.state == 'retrying' and record.kept and 'lose ladder copy' in scenario.faults
        # A member is promised to its parent, not to a client: as long as that lives it can be made again.
        if redis.group and job and (record is None or carried(world, 0) and not ended(world, 0)):
            continue
        if not ended(world, job) and not carried(world, job) and not kept:
            return f'N: job {job} was accepted, has not ended, and nobody has its message'
    return ''


def explore(scenario: Scenario, without=(), most: int = 10**9) -> Report:
    """All histories of the scenario, under all rules but those, up to so many states."""
    began, rules = time.monotonic(), frozenset(RULES) - frozenset(without)
    worlds = [start(scenario)]
    number = {worlds[0]: 0}
    came = [(0, '')]                      # the state before, and the step from it
    free = [[]]                           # the states before by a step that is no fault

    def report(broken='', at=0, is_whole=True):
        trace = []
        while at:
            trace.append((came[at][1], worlds[at]))
            at = came[at][0]
        return Report(len(worlds), time.monotonic() - began, broken, tuple(reversed(trace)), is_whole)

    for at, world in enumerate(worlds):   # which grows meanwhile
        if len(worlds) > most:
            return report(is_whole=False)
        for label, is_fault, after in steps(world, rules):
            to = number.setdefault(after, len(worlds))
            if to == len(worlds):
                worlds.append(after)
                came.append((at, label))
                free.append([])
                broken = judge(after, scenario)
                if broken:
                    return report(broken, to)
            if not is_fault:
                free[to].append(at)
    stuck = first_stuck(worlds, free)
    return report() if stuck is None else report('T: an accepted job can no longer end', stuck)


def is_done(world):
    ghost = world.ghost
    if world.redis.group and ended(world, 0):   # members that were never made are no jobs
        return all(record is None or record.state in TERMINAL or ghost.excused[job]
                   for job, record in enumerate(world.redis.records))
    return all(ended(world, job) or ghost.excused[job] or not accepted for job, accepted in enumerate(ghost.accepted))


def first_stuck(worlds, free):
    """Walks back from where all jobs have ended; who is not met cannot get there."""
    reached = [is_done(world) for world in worlds]
    ahead = [at for at, is_reached in enumerate(reached) if is_reached]
    while ahead:
        for before in free[ahead.pop()]:
            if not reached[before]:
                reached[before] = True
                ahead.append(before)
    return None if all(reached) else reached.index(False)


# ---- for people ------------------------------------------------------------

def summary(name: str, report: Report) -> str:
    end = report.broken or ('holds' if report.is_whole else 'holds so far')
    return f'{name}: {report.states} states, {report.seconds:.1f} s: {end}'


def story(report: Report) -> str:
    """The history of a violation, one step a line, with the records after it."""
    lines = []
    for n, (label, world) in enumerate(report.trace, 1):
        records = ', '.join(f'{record.state}, fence {record.fence}' if record else 'no record'
                            for record in world.redis.records)
        lines.append(f'{n:4}  {label:<66} {records}')
    return '\n'.join(lines + [f'      {report.broken}'])


def main():
    parser = argparse.ArgumentParser(description='Explores the delivery contract.')
    parser.add_argument('name', nargs='*', help='scenarios whose name contains this; default: the standard ones')
    parser.add_argument('--long', action='store_true', help='one more fault in each history, where the budget has one')
    parser.add_argument('--without', default='', metavar='RULE,RULE', help='take these rules out')
    parser.add_argument('--most', type=int, default=2_000_000, help='stop at so many states (1 GB each million)')
    parser.add_argument('--limits', action='store_true', help='what is known not to hold, too')
    parser.add_argument('--large', action='store_true', help='the large fleets, too: minutes each')
    parser.add_argument('--list', action='store_true', help='name the scenarios and the rules')
    args = parser.parse_args()

    scenarios = dict(STANDARD)
    if args.limits:
        scenarios.update((name, scenario) for name, (_, scenario) in LIMITS.items())
    if args.large:
        scenarios.update(LARGE)
    if args.list:
        print('\n'.join([*scenarios, '', *(f'{rule}: {text}' for rule, text in RULES.items())]))
        return 0
    without = [rule for rule in args.without.split(',') if rule]
    unknown = set(without) - set(RULES)
    if unknown:
        parser.error(f'no such rule: {", ".join(sorted(unknown))}')
    broken = 0
    for name, scenario in scenarios.items():
        if args.name and not any(part in name for part in args.name):
            continue
        report = explore(scenario._replace(limit=scenario.limit + args.long), without, args.most)
        print(summary(name, report), flush=True)
        if report.broken:
            print(story(report))
            broken += 1
    return 1 if broken else 0


if __name__ == '__main__':
    sys.exit(main())
