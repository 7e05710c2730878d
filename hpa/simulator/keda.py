# SPDX-License-Identifier: Apache-2.0
"""KEDA: the numbers that its scalers read, and the operator that wakes a Deployment and puts it to sleep.

As kedacore/keda pkg/scaling/executor/scale_scaledobjects.go decides. Between
one and the maximum the HPA scales; it asks for the same numbers at its own time.
"""

from simulator.hours import is_on


def reader(queue, scale):
    """What the scaler reads. amqp's passive declare knows ready messages alone, but at once."""
    if scale.protocol == "amqp":
        return lambda: len(queue.ready)
    if scale.excludes_unacknowledged:
        return lambda: queue.as_reported()[0]
    return lambda: sum(queue.as_reported())


def pods_at_these_hours(clock, scale):
    """What the cron scalers say: the pods of their hours. Outside of them each says one, and wakes nobody."""
    return max((hours.pods for hours in scale.hours if is_on(hours, clock.now)), default=0)


class Operator:
    def __init__(self, clock, diary, scale, deployment, metric):
        self._clock, self._diary, self._scale = clock, diary, scale
        self._deployment, self._metric = deployment, metric
        self._last_active = None
        clock.every(scale.polling, clock.dice(f"keda {deployment.name}").random() * scale.polling, self._poll)

    def _poll(self):
        now, scale, deployment = self._clock.now, self._scale, self._deployment
        jobs = self._metric()
        at_these_hours = pods_at_these_hours(self._clock, scale)
        is_active = jobs > scale.activation or at_these_hours > 0
        if is_active:
            self._last_active = now
        if is_active and deployment.replicas == 0:
            self._move(max(1, scale.min), "{} jobs (more than {:g} wake it), {} pods at these hours", jobs,
                       scale.activation, at_these_hours)
        elif not is_active and deployment.replicas < scale.min:
            self._move(scale.min, "the minimum")
        elif not is_active and deployment.replicas > 0 and scale.min == 0:
            if self._last_active is None or self._last_active + scale.cooldown < now:
                self._move(0, "no job for more than {:g} s", scale.cooldown)

    def _move(self, replicas, why, *values):
        deployment = self._deployment
        self._diary.note(f"keda {deployment.name}", why + ": {} -> {}", *values, deployment.replicas, replicas)
        deployment.resize(replicas)
