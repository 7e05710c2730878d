# SPDX-License-Identifier: Apache-2.0
"""The delivery contract, explored: it holds on bad days, and each of its rules is needed.

`pytest -s` shows the number of states, and the history of what breaks when a
rule is taken out.
"""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from contract import RULES  # noqa: E402
from explore import explore, story, summary  # noqa: E402
from scenarios import LIMITS, NEEDED, STANDARD, TOGETHER  # noqa: E402


def assert_holds(name, scenario, without=()):
    report = explore(scenario, without)
    print(summary(name, report))
    assert not report.broken, '\n' + story(report)


def assert_breaks(name, scenario, letter, without=()):
    report = explore(scenario, without)
    print(summary(name, report))
    assert report.broken, f'{name}: nothing broke in {report.states} states'
    print(story(report))
    assert report.broken[0] == letter, '\n' + story(report)


@pytest.mark.parametrize('name', STANDARD)
def test_contract__holds_when(name):
    assert_holds(name, STANDARD[name])


@pytest.mark.parametrize('rule', NEEDED)
def test_contract__breaks_without(rule):
    letter, scenario = NEEDED[rule]
    assert_holds('with ' + rule, scenario)
    assert_breaks('without ' + rule, scenario, letter, [rule])


@pytest.mark.parametrize('pair', TOGETHER, ids=' and '.join)
def test_contract__breaks_without_both(pair):
    letter, scenario = TOGETHER[pair]
    for rule in pair:
        assert_holds('without ' + rule, scenario, [rule])
    assert_breaks('without both', scenario, letter, pair)


@pytest.mark.parametrize('name', LIMITS)
def test_contract__is_known_to_break_when(name):
    letter, scenario = LIMITS[name]
    assert_breaks(name, scenario, letter)


def test_contract__has_no_rule_that_is_not_shown():
    assert set(RULES) == set(NEEDED) | {rule for pair in TOGETHER for rule in pair}
