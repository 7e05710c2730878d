# SPDX-License-Identifier: Apache-2.0
"""The simulator against what was measured with the real programs: RabbitMQ, KEDA, HPA, kubelet, Cluster Autoscaler.

A measurement is one coincidence of clocks that know nothing of each other: polls, looks, scans. The simulator draws
them from its seed, so it is asked many times: what was seen once has to be ordinary among its answers.
"""
import statistics

import pytest

from paper import Run, changed, settings

from simulator.hpa import wanted_by_metric
from simulator.settings import Broker, Flags, Rules, Policy

SEEDS = range(100)
PUBLISHED = 100.0  # s; the fleet had been at rest for long


def after_publish(setup, count, condition):
    """When the condition held after so many publishes at once, for each seed, sorted."""
    times = []
    for seed in SEEDS:
        run = Run(setup, [(PUBLISHED, 300.0)] * count, seed)
        times.append(run.until(lambda: condition(run)) - PUBLISHED)
    return sorted(times)


def test_of_twelve_messages_the_first_pod_runs_after_8_to_13_s_and_the_twelfth_after_about_17():
    setup = settings(node_cpu=100_000, world={"image_pull": 0.0})
    assert setup.broker == Broker(5, 5)
    first = after_publish(setup, 12, lambda run: len(run.running) >= 1)
    twelfth = after_publish(setup, 12, lambda run: len(run.running) == 12)
    assert 8 <= statistics.median(first) <= 13
    assert 15 <= statistics.median(twelfth) <= 19


def test_the_number_of_messages_is_up_to_ten_seconds_old():
    """The API said 0 at 4 s and 12 at 9 s."""
    seen_at_4, seen_at_9 = 0, 0
    for seed in SEEDS:
        run = Run(settings(scale={"max": 0}), [(PUBLISHED, 1.0)] * 12, seed)
        run.to(PUBLISHED + 4)
        seen_at_4 += run.queue.as_reported() == (12, 0)
        run.to(PUBLISHED + 9)
        seen_at_9 += run.queue.as_reported() == (12, 0)
        run.to(PUBLISHED + 10.1)
        assert run.queue.as_reported() == (12, 0)
    assert seen_at_4 < len(SEEDS) / 2 < seen_at_9


def test_thirty_messages_order_ten_nodes_within_a_usual_time_of_13_s():
    """Three pods of a CPU on a node of 3920m: thirty pods, ten nodes."""
    setup = settings(nodes=0, node_max=50)
    times = after_publish(setup, 30, lambda run: len(run.nodes) >= 10)
    assert times[len(times) // 20] <= 13 <= times[-len(times) // 20]
    run = Run(setup, [(PUBLISHED, 900.0)] * 30)
    run.to(PUBLISHED + 300)
    assert len(run.nodes) == 10 and sorted(len(node.pods) for node in run.nodes) == [3] * 10


@pytest.mark.parametrize("request_cpu, fitting", [(1000, 3), (980, 4)])
def test_twenty_millicores_less_and_a_fourth_pod_fits_the_node(request_cpu, fitting):
    setup = settings(cpu=request_cpu)
    group, = setup.groups
    assert group.capacity(next(iter(setup.workloads.values()))) == fitting


# ---- which pods go ---------------------------------------------------------------------------------------------


def after_24_of_30(cost_after, seed, **changes):
    """Thirty jobs on ten nodes; those of two nodes go on when the others have ended. The Run, with six pods left."""
    setup = changed(settings(nodes=10), pod={"cost_after": cost_after}, **changes)
    jobs = [(PUBLISHED + number * 1e-6, 300.0) for number in range(30)]
    plain = Run(setup, jobs, seed)
    plain.until(lambda: sum(bool(pod.jobs) for pod in plain.deployment.pods) == 30)
    node_of = {job.arrived: pod.node.name for pod in plain.deployment.pods for job in pod.jobs}
    two = sorted(set(node_of.values()))[:2]
    run = Run(setup, [(arrived, 1200.0 if node_of[arrived] in two else seconds) for arrived, seconds in jobs], seed)
    run.until(lambda: run.cluster.tally.completed == 24)
    run.until(lambda: len(run.deployment.pods) == 6)
    return run


def test_without_a_deletion_cost_the_six_pods_that_stay_lie_on_five_nodes():
    runs = [after_24_of_30(None, seed) for seed in range(40)]
    counts = [len(run.occupied()) for run in runs]
    assert statistics.median(counts) == 5 and 4.5 <= statistics.mean(counts) <= 5.5
    assert any(not all(pod.jobs for pod in run.deployment.pods) for run in runs), "and busy ones went"


def test_with_a_deletion_cost_they_are_the_six_busy_ones_on_two_nodes():
    for seed in range(40):
        run = after_24_of_30(10.0, seed)
        assert len(run.occupied()) == 2
        assert all(pod.jobs for pod in run.deployment.pods)


def test_amqp_counts_ready_messages_alone_and_ends_pods_under_running_jobs():
    """Six jobs running: by AMQP the Deployment went from 6 to 1 in 7 s and to 0 within 19; by HTTP they kept their
    pods."""
    for protocol, kept in (("amqp", 0), ("http", 6)):
        setup = settings(node_cpu=100_000, scale={"protocol": protocol, "cooldown": 20})
        run = Run(setup, [(PUBLISHED, 400.0)] * 6)
        run.until(lambda: run.cluster.crews["spin"].busy == 6)
        run.to(run.cluster.clock.now + 60)
        assert len(run.deployment.pods) == kept and run.cluster.crews["spin"].busy == 6


@pytest.mark.parametrize("busy, jobs, wanted", [(20, 21, 20), (20, 22, 22), (100, 109, 100), (100, 111, 111),
                                                (9, 10, 10)])
def test_the_dead_zone_grows_with_the_fleet(busy, jobs, wanted):
    assert wanted_by_metric(jobs, 1, busy, 0.1, 0.1) == wanted


def test_scaling_in_takes_a_look_and_what_the_number_is_old():
    """From many to fewer after 11 to 22 s, with a window of 15 s, which is one look."""
    times = []
    for seed in SEEDS:
        jobs = [(PUBLISHED + number * 1e-6, 300.0) for number in range(15)]
        plain = Run(settings(node_cpu=100_000), jobs, seed)
        plain.until(lambda: plain.cluster.crews["spin"].busy == 15)
        begun = {job.arrived: job.begun for pod in plain.deployment.pods for job in pod.jobs}
        run = Run(settings(node_cpu=100_000), [(arrived, 300.0 - begun[arrived] if number < 10 else 900.0)
                                               for number, (arrived, _) in enumerate(jobs)], seed)
        times.append(run.until(lambda: run.deployment.replicas == 5) - 300.0)
    assert 11 <= statistics.median(times) <= 22


# ---- which nodes go --------------------------------------------------------------------------------------------

QUICK = Flags(unneeded=30, delay_after_add=30, recheck=30, skips_local_storage=False)


def few_left(safe_to_evict, flags=QUICK):
    """Thirty pods on ten nodes, of which six, on about five nodes, have long to go: longer than their grace."""
    setup = changed(settings(nodes=0, node_max=50, flags=flags),
                    pod={"safe_to_evict": safe_to_evict, "grace": 60.0, "cost_after": 10.0})
    jobs = [(PUBLISHED + number * 1e-6, 3600.0 if number % 5 == 0 else 300.0) for number in range(30)]
    run = Run(setup, jobs)
    run.until(lambda: run.cluster.tally.completed == 24)
    return run


def test_the_autoscaler_of_nodes_evicts_running_workers_unless_told_not_to():
    run = few_left("")
    run.to(run.cluster.clock.now + 900)
    assert len(run.nodes) <= 3 and "are evicted" in run.story()
    assert run.cluster.tally.kills > 0
    run = few_left("false")
    run.to(run.cluster.clock.now + 900)
    assert len(run.nodes) == len(run.occupied()) >= 4
    assert "are evicted" not in run.story()
    run.until(lambda: not run.nodes)
    assert run.cluster.tally.kills == 0


def test_a_node_that_had_to_stay_is_not_looked_at_again_for_the_recheck_timeout():
    """Nodes whose last worker had gone stayed over two minutes at an unneeded time of 30 s."""
    stayed = {}
    for recheck in (300, 10):
        run = few_left("false", Flags(unneeded=30, delay_after_add=30, recheck=recheck, skips_local_storage=False))
        run.until(lambda: run.cluster.tally.completed == 30)
        run.until(lambda: run.deployment.replicas == 0)
        empty = run.cluster.clock.now
        stayed[recheck] = run.until(lambda: not run.nodes) - empty
    assert stayed[300] > 120 > stayed[10]


def test_the_defaults_grow_by_doubling_and_one_policy_jumps():
    defaults = Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
    slow = Run(settings(node_cpu=100_000, scale={"up": defaults}), [(PUBLISHED, 900.0)] * 60)
    fast = Run(settings(node_cpu=100_000), [(PUBLISHED, 900.0)] * 60)
    at = [run.until(lambda: run.deployment.replicas == 60) for run in (slow, fast)]
    assert at[0] - at[1] == pytest.approx(60, abs=1)  # 1, 5, 10, 20, 40, 60
