# SPDX-License-Identifier: Apache-2.0
"""The parts of hpa/simulator against the algorithms that they stand for."""
import itertools

import pytest

from paper import AT_ONCE, GIB, KIND, Jobs, Run, changed, settings

from simulator.cluster import Cluster
from simulator.hours import hours_of, is_on, minutes_of
from simulator.hpa import Pace, Stabiliser
from simulator.pods import Pod
from simulator.replicaset import deletion_order
from simulator.settings import Flags, Group, Policy, Rules, SettingsError, Workload, with_changes

# ---- the HPA ---------------------------------------------------------------------------------------------------


def test_growth_takes_the_least_of_its_window_and_shrinking_the_most_of_its_own():
    looks = Stabiliser(up_window=20, down_window=60)
    #        time, current, wanted, allowed
    for step in [(0, 1, 10, 10),   # nothing remembered
                 (15, 10, 30, 10), (30, 10, 40, 30),   # twice in a row: the lesser of the two
                 (45, 30, 5, 30), (60, 30, 5, 30), (89, 30, 5, 30), (91, 30, 5, 5)]:
        time, current, wanted, allowed = step
        assert looks.stabilise(time, current, wanted) == allowed, step


def test_after_a_rest_at_zero_the_first_look_has_only_itself_to_agree_with():
    """The HPA recommends nothing for a Deployment without replicas, so what it remembers is too old to hold growth up;
    a minimum above zero is looked at all the time, and does."""
    looks = {}
    for least in (0, 1):
        setup = settings(node_cpu=100_000, scale={"min": least, "up": Rules(20, AT_ONCE.policies)})
        run = Run(setup, [(100.0, 900.0)] * 40)
        run.until(lambda: run.deployment.replicas == 40)
        looks[least] = [line for line in run.story().splitlines() if " hpa " in line and "40 wanted" in line]
    assert [len(looks[0]), len(looks[1])] == [1, 2]


# ---- hours -----------------------------------------------------------------------------------------------------


def hours(start, end, pods=3):
    return hours_of({"timezone": "Etc/UTC", "start": start, "end": end, "desiredReplicas": str(pods)})


@pytest.mark.parametrize("day, hour, on", [(0, 7.99, False), (0, 8, True), (0, 17.99, True), (0, 18, False),
                                           (4, 12, True), (5, 12, False), (6, 23.99, False), (7, 12, True)])
def test_hours_are_on_from_their_start_to_their_end_on_their_days(day, hour, on):
    assert is_on(hours("0 8 * * 1-5", "0 18 * * MON-FRI"), (day * 24 + hour) * 3600) == on


def test_hours_may_span_midnight_and_come_in_steps():
    nights = hours("30 22 * * *", "30 5 ? * *")
    assert [is_on(nights, 3600 * hour) for hour in (0, 5, 6, 22, 23)] == [True, True, False, False, True]
    assert minutes_of("*/30 1,2-3 * * sun") == tuple(6 * 1440 + minute for minute in range(60, 240, 30))


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "0 8 * * 7", "0 8 1 * *", "0 8 * MAR *", "5-3 * * * *",
                                  "*/0 * * * *", "x * * * *"])
def test_an_expression_that_the_simulator_does_not_know_is_refused(text):
    with pytest.raises(SettingsError, match="cron expression|no dates"):
        minutes_of(text)


def test_pods_of_the_hours_are_there_before_the_first_job_and_go_after_them():
    setup = settings(node_cpu=100_000, scale={"hours": (hours("0 1 * * *", "0 2 * * *"),)})
    run = Run(setup, [(5400.0, 120.0)] * 8 + [(9000.0, 1.0)])
    counts = {}
    for minutes in (59, 61, 89, 91, 110, 125, 149):
        run.to(60.0 * minutes)
        counts[minutes] = len(run.deployment.pods)
    assert counts == {59: 0, 61: 3, 89: 3, 91: 8, 110: 3, 125: 0, 149: 0}


def paced(rules_up, steps):
    """The size after each look, when so many are wanted: (time, wanted)."""
    pace, size, sizes = Pace(rules_up, Rules(0, (Policy("Percent", 100, 15),))), 1, []
    for time, wanted in steps:
        then = pace.limit(time, size, wanted)
        if then != size:
            pace.note(time, size, then)
        size = then
        sizes.append(size)
    return sizes


def test_policies_bound_the_change_within_their_period():
    looks = [(time, 100) for time in range(0, 75, 15)]
    assert paced(Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15))), looks) == [5, 10, 20, 40, 80]
    assert paced(Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)), "Min"), looks) == [2, 4, 8, 12, 16]
    assert paced(Rules(0, (Policy("Pods", 10, 60),)), looks) == [11, 11, 11, 11, 21]
    assert paced(Rules(0, (Policy("Pods", 10, 60),), "Disabled"), looks) == [1] * 5


def test_shrinking_by_percent_is_rounded_down_and_counts_what_went_in_the_period():
    pace = Pace(AT_ONCE, Rules(0, (Policy("Percent", 10, 60),)))
    assert pace.limit(0, 55, 0) == 49
    pace.note(0, 55, 49)
    assert pace.limit(30, 49, 0) == 49
    assert pace.limit(61, 49, 0) == 44


# ---- who is deleted --------------------------------------------------------------------------------------------

NOW = 10_000.0


def pod(name, node="a", running_since=NOW - 1000, cost=0, uid=0.5):
    made = Pod(name, uid, None, NOW - 2000)
    made.node, made.running_since, made.cost_kept = node, running_since, cost
    return made


@pytest.mark.parametrize("first, second", [
    (pod("unscheduled", None, None), pod("pending", "a", None)),
    (pod("pending", "a", None, cost=9), pod("running", "b")),
    (pod("cheap", "a", cost=0), pod("dear", "b", cost=1)),
    (pod("young", "a", NOW - 10), pod("old", "b", NOW - 5000)),
    (pod("by chance", "a", NOW - 1000, uid=0.1), pod("of the same age, nearly", "b", NOW - 1001, uid=0.2)),
], ids=lambda one: one.name)
def test_the_first_goes_before_the_second(first, second):
    for pods in itertools.permutations([first, second]):
        assert deletion_order(pods, NOW, lambda one: one.cost_kept) == [first, second]


def test_of_pods_that_cost_the_same_those_on_fuller_nodes_go_and_nobody_counts_again():
    full = [pod(f"full {number}", "a", uid=number / 10) for number in range(3)]
    alone = pod("alone", "b", NOW - 10)  # younger, but that comes later
    assert deletion_order([alone, *full], NOW, lambda one: 0) == [*full, alone]


# ---- deletion cost ---------------------------------------------------------------------------------------------


def test_a_pod_becomes_dear_with_time_stays_so_while_busy_and_falls_when_idle():
    setup = settings(scale={"min": 1, "max": 1}, pod={"cost_after": 10.0, "cost_pause": 10.0, "slots": 2})
    run = Run(setup, [(100.0, 30.0), (100.0, 4.0), (105.0, 40.0), (146.0, 1.0)])
    cost = []
    for time in (99, 109, 111, 116, 131, 146, 148):
        run.to(float(time))
        only, = run.deployment.pods
        cost.append(run.cluster.crews[KIND].cost(only))
    #              99 109 111 116 131 146 148
    assert cost == [0, 0, 1, 2, 1, 0, 0]


def test_a_busy_pod_of_short_jobs_is_as_cheap_as_an_idle_one():
    run = Run(settings(scale={"min": 1}, pod={"cost_after": 10.0}), [(100.0 + 9 * number, 9.0) for number in range(9)])
    for time in range(100, 180, 7):
        run.to(float(time))
        assert run.cluster.crews[KIND].cost(run.deployment.pods[0]) == 0


# ---- jobs ------------------------------------------------------------------------------------------------------


def test_a_pod_that_ends_finishes_its_job_first_and_takes_no_other():
    run = Run(settings(scale={"min": 2, "max": 2}), [(100.0, 50.0), (100.0, 50.0), (101.0, 10.0)])
    run.to(110.0)
    going = run.deployment.pods[0]
    run.deployment.lost(going)
    run.cluster.crews[KIND].end(going)
    run.to(149.0)
    assert going.jobs and not going.is_gone
    run.until(lambda: going.is_gone)
    assert run.cluster.clock.now == pytest.approx(150.2) and run.cluster.tally.kills == 0
    assert run.cluster.tally.completed == 3


def test_what_outlasts_the_grace_is_cut_short_and_runs_again():
    run = Run(settings(scale={"min": 1, "max": 1}, pod={"grace": 30.0}), [(100.0, 50.0)])
    run.to(110.0)
    going, = run.deployment.pods
    run.deployment.lost(going)
    run.cluster.crews[KIND].end(going)
    run.until(lambda: run.cluster.tally.completed == 1)
    assert run.cluster.clock.now == pytest.approx(140 + 50, abs=5)
    assert run.cluster.tally.kills == 1 and run.cluster.tally.used == 50


def test_the_broker_serves_those_who_wait_in_turn():
    run = Run(settings(scale={"min": 3, "max": 3}), [(100.0 + number, 0.5) for number in range(6)])
    turns = []
    for number in range(6):
        run.to(100.2 + number)
        turns.append(next(one.name for one in run.deployment.pods if one.jobs))
    assert turns[:3] == turns[3:] and len(set(turns)) == 3


# ---- nodes and who goes there ----------------------------------------------------------------------------------


def crowds(setup, count, seed=1):
    run = Run(changed(setup, scale={"min": count}), [(1000.0, 1.0)], seed)
    run.to(100.0)
    return sorted(len(node.pods) for node in run.nodes)


def test_the_scheduler_spreads_and_affinity_gathers():
    three = settings(nodes=3, node_cpu=15890)
    assert crowds(three, 12) == [4, 4, 4]
    assert crowds(changed(three, pod={"packs": True}), 12) == [0, 0, 12]
    assert crowds(changed(three, pod={"spread": (("zone", 1),)}), 12) == [4, 4, 4]


def test_a_pod_goes_only_where_its_selector_and_its_tolerations_let_it():
    taint = (("millrace/worker", "true"),)
    group = Group("workers", 4, 3920, GIB, labels=(("role", "x"),), taints=taint)
    plain = dict(name="w", kind=KIND, image="i", cpu=1, memory=1, cores=1, slots=1, grace=1, job_grace=1)
    assert not group.takes(Workload(**plain))
    assert group.takes(Workload(**plain, tolerations=taint))
    assert group.takes(Workload(**plain, tolerations=(("millrace/worker", None),), selector=(("role", "x"),)))
    assert not group.takes(Workload(**plain, tolerations=taint, selector=(("role", "y"),)))


def test_nodes_stop_at_the_maximum_and_all_jobs_run_in_the_end():
    for limits in ({"node_max": 2}, {"node_max": 50, "flags": Flags(nodes_max=2)}):
        setup = settings(nodes=0, **limits)
        run = Run(setup, [(10.0, 60.0)] * 30)
        run.until(lambda: run.cluster.tally.completed == 30)
        assert run.cluster.cloud._made == 2
        assert "fit no group of nodes that may still grow" in run.story()


def test_an_empty_node_is_paid_from_its_order_until_it_has_been_unneeded():
    flags = Flags(scan=10, unneeded=60, delay_after_add=0, recheck=10)
    setup = settings(nodes=0, node_max=5, flags=flags, world={"boot_least": 90, "boot_most": 90})
    run = Run(setup, [(100.0, 300.0)])
    run.until(lambda: run.nodes)
    ordered = run.cluster.clock.now
    run.until(lambda: run.deployment.replicas == 0)
    emptied = run.cluster.clock.now
    run.until(lambda: not run.nodes)
    ended = run.cluster.clock.now
    assert 60 < ended - emptied <= 60 + 4 * 10 + flags.delay_after_taint
    assert run.cluster.cloud.paid() == pytest.approx(4 * (ended - ordered))


def test_nothing_is_removed_for_a_while_after_something_was_added():
    flags = Flags(scan=10, unneeded=20, delay_after_add=600)
    setup = settings(nodes=0, node_max=5, flags=flags, scale={"cooldown": 0})
    run = Run(setup, [(100.0, 10.0)])
    run.until(lambda: run.nodes)
    ordered = run.cluster.clock.now
    assert run.until(lambda: not run.nodes) - ordered >= 600


# ---- the whole -------------------------------------------------------------------------------------------------


def outcome(seed):
    run = Cluster(settings(nodes=0, node_max=20), [KIND], seed, is_explained=True).run(
        Jobs([(number * 0.7, 5 + number % 13) for number in range(200)]))
    return run.paid, list(run.waits), run.diary


def test_the_seed_decides_everything():
    assert outcome(7) == outcome(7)
    assert outcome(7) != outcome(8)


def test_every_job_ends_exactly_once_and_is_used_for_once():
    jobs = [(number * 0.7, 5 + number % 13) for number in range(200)]
    run = Cluster(settings(nodes=0, node_max=20, pod={"grace": 3.0}), [KIND]).run(Jobs(jobs))
    assert run.completed == run.submitted == 200 and len(run.waits) == 200
    assert run.used == pytest.approx(sum(seconds for _, seconds in jobs))
    assert run.samples[-1].nodes == 0 and run.paid > run.used


@pytest.mark.parametrize("change", [{"scale.nothing": "1"}, {"nothing": "1"}, {"scale.up.window": "soon"},
                                    {"scale.up.policies": "Pods"}, {"autoscaler.scan": "1"}, {"scale.value": "0"},
                                    {"scale.polling": "-5"}, {"world.hpa_sync": "nan"}, {"scale.max": "1.5"},
                                    {"scale.max": "none"}, {"scale.min": "101"}, {"scale.up.policies": "Pods:nan/15"},
                                    {"scale.protocol": "mqtt"}, {"scale.up.select": "Least"}, {"scale.hours": "3"},
                                    {"pod.cpu": "0"}, {"world.boot_least": "121"}, {"scale.queue.name": "x"}])
def test_a_change_that_cannot_be_is_refused_in_words(change):
    with pytest.raises(SettingsError) as refusal:
        with_changes(settings(), change)
    assert next(iter(change)) in str(refusal.value) or "policy" in str(refusal.value)


def test_a_change_reaches_what_it_names():
    setup = with_changes(settings(nodes=0, node_max=9), {
        "scale.up.policies": "Pods:8/60+Percent:50/30", "scale.value": "1.5", "pod.cost_after": "none",
        "node.cores": "16", "autoscaler.unneeded": "30"})
    assert setup.scales[KIND].up.policies == (Policy("Pods", 8, 60), Policy("Percent", 50, 30))
    assert setup.scales[KIND].value == 1.5 and setup.workloads[KIND].cost_after is None
    assert setup.groups[0].cores == 16 and setup.flags.unneeded == 30
