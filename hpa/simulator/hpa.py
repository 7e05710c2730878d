# SPDX-License-Identifier: Apache-2.0
"""The HorizontalPodAutoscaler (autoscaling/v2) with external metrics of type AverageValue: of what each of them wants
the most.

As kubernetes pkg/controller/podautoscaler computes it: replica_calculator.go
(GetExternalPerPodMetricReplicas), horizontal.go (stabilizeRecommendation-
WithBehaviors, convertDesiredReplicasWithBehaviorRate). Arithmetic first, the
controller that calls it every 15 seconds below.
"""

import math

from simulator.keda import pods_at_these_hours


def wanted_by_metric(total, value, replicas, up_tolerance, down_tolerance):
    """ceil(total / value), or what there is while the ratio is within the tolerances."""
    ratio = total / (value * replicas) if replicas else math.inf
    # As before Kubernetes 1.33, where 22 jobs for 20 pods were seen to be more than a tenth; later ones compare with
    # 1.1, which 22 / 20 is.
    if ratio - 1.0 <= up_tolerance and 1.0 - ratio <= down_tolerance:
        return replicas
    return math.ceil(total / value - 1e-9)


class Stabiliser:
    """Remembers what was recommended: growth takes the least of its window, shrinking the most of its own."""

    def __init__(self, up_window, down_window, past=()):
        self._up_window, self._down_window = up_window, down_window
        self._past = list(past)  # (time, recommended)

    def stabilise(self, now, current, wanted):
        up = down = wanted
        for time, recommended in self._past:
            if time > now - self._up_window:
                up = min(up, recommended)
            if time > now - self._down_window:
                down = max(down, recommended)
        oldest = now - max(self._up_window, self._down_window)
        self._past = [entry for entry in self._past if entry[0] > oldest]
        self._past.append((now, wanted))
        return min(max(current, up), down)


class Pace:
    """How fast the policies of one ScaledObject let a Deployment grow and shrink."""

    def __init__(self, up, down):
        self._up, self._down = up, down
        self._grown, self._shrunk = [], []  # (time, pods)

    def limit(self, now, current, wanted):
        if wanted > current:
            return min(wanted, max(current, self._bound(self._up, now, current, +1)))
        if wanted < current:
            return max(wanted, min(current, self._bound(self._down, now, current, -1)))
        return current

    def note(self, now, current, then):
        (self._grown if then > current else self._shrunk).append((now, abs(then - current)))
        longest = max((policy.period for rules in (self._up, self._down) for policy in rules.policies), default=0)
        self._grown = [change for change in self._grown if change[0] > now - longest]
        self._shrunk = [change for change in self._shrunk if change[0] > now - longest]

    def _bound(self, rules, now, current, sign):
        if rules.select == "Disabled" or not rules.policies:
            return current
        bounds = [self._proposed(policy, now, current, sign) for policy in rules.policies]
        widest = max if sign > 0 else min
        return (min if widest is max else max)(bounds) if rules.select == "Min" else widest(bounds)

    def _proposed(self, policy, now, current, sign):
        since = now - policy.period
        grown = sum(pods for time, pods in self._grown if time > since)
        shrunk = sum(pods for time, pods in self._shrunk if time > since)
        began = current - grown + shrunk
        if policy.type == "Pods":
            return began + sign * policy.value
        share = began * (1 + sign * policy.value / 100)
        return math.ceil(share - 1e-9) if sign > 0 else int(share)


class Autoscaler:
    """The controller of one Deployment. It does nothing while the Deployment has no replicas: waking it is KEDA's. Nor
    does it recommend anything in that time, so the first look after it has only itself to agree with."""

    def __init__(self, clock, diary, scale, deployment, metric, sync):
        self._clock, self._diary, self._scale = clock, diary, scale
        self._deployment, self._metric = deployment, metric
        first = clock.dice(f"hpa {deployment.name}").random() * sync
        # Before the run began there was a fleet at rest: looks that recommended its minimum, or none at all.
        past = [(first - sync, scale.min)] if scale.min else ()
        self._stabiliser = Stabiliser(scale.up.window, scale.down.window, past)
        self._pace = Pace(scale.up, scale.down)
        clock.every(sync, first, self._sync)

    def _sync(self):
        now, scale, deployment = self._clock.now, self._scale, self._deployment
        current, least = deployment.replicas, max(1, scale.min)
        if current == 0:
            return
        if current > scale.max:
            wanted, total = scale.max, None
        elif current < least:
            wanted, total = least, None
        else:
            total = self._metric()
            at_these_hours = pods_at_these_hours(self._clock, scale)
            asked = max(wanted_by_metric(metric, value, len(deployment.pods), scale.up.tolerance, scale.down.tolerance)
                        for metric, value in ((total, scale.value), (at_these_hours, 1)))
            stable = self._stabiliser.stabilise(now, current, asked)
            paced = self._pace.limit(now, current, stable)
            wanted = max(least, min(scale.max, paced))
            if wanted != current or asked != current:
                self._diary.note(f"hpa {deployment.name}", "{} jobs / {:g}, {} pods at these hours: {} wanted; "
                                 "{} after the windows, {} after policies and bounds; {} -> {}",
                                 total, scale.value, at_these_hours, asked, stable, wanted, current, wanted)
        if wanted != current:
            self._pace.note(now, current, wanted)
            deployment.resize(wanted)
