# SPDX-License-Identifier: Apache-2.0
"""When requests arrive. A shape is a row of stages; a stage is (seconds, requests per minute).

    burst   1,000 in one minute, then nothing
    step    a quarter more each minute, up to 1,000
    soak    half an hour of 600 per minute
    spike   a quiet minute, 20 s at 25 times its rate, a quiet minute

Arrivals do not wait for answers: a fleet that falls behind gets the next
request when it is due, not when it is ready. Within a stage they are as
independent clients would be, and their number is exact.
"""

SHAPES = {
    "burst": ((60, 1000),),
    "step": ((60, 250), (60, 500), (60, 750), (60, 1000)),
    "soak": ((1800, 600),),
    "spike": ((60, 120), (20, 3000), (60, 120)),
}


def stages(name, seconds=None, rate=None):
    """The stages of a shape, stretched to so many seconds in all and so many requests per minute at its highest."""
    shape = SHAPES[name]
    longer = seconds / sum(stage[0] for stage in shape) if seconds else 1
    faster = rate / max(stage[1] for stage in shape) if rate else 1
    return [(length * longer, pace * faster) for length, pace in shape]


def arrivals(plan, dice):
    """Seconds from the start, ascending, of each request. dice: a random.Random."""
    times, start = [], 0.0
    for length, pace in plan:
        times += sorted(start + length * dice.random() for _ in range(round(length * pace / 60)))
        start += length
    return times


def peak_per_second(plan):
    return max(pace for _, pace in plan) / 60
