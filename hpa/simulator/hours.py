# SPDX-License-Identifier: Apache-2.0
"""Cron expressions as KEDA's cron trigger has them, in a week that begins with Monday 00:00 of the trigger's own zone.

As kedacore/keda pkg/scalers/cron_scaler.go decides: the hours are on while
their end comes before their next start. A simulation has weeks and no dates,
so expressions that name a day of a month or a month are refused.
"""

import bisect

from simulator.settings import Hours, SettingsError

WEEK = 7 * 24 * 60  # minutes
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def _number(text, least, most, names):
    number = names.index(text.upper()) if text.upper() in names else int(text)
    if not least <= number <= most:
        raise ValueError
    return number


def _field(text, least, most, names=()):
    """The numbers that one field of an expression allows."""
    allowed = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            first, last = least, most
        else:
            first = _number(first, least, most, names)
            last = _number(last, least, most, names) if dash else most if slash else first
        if first > last or (slash and int(step) < 1):
            raise ValueError
        allowed.update(range(first, last + 1, int(step) if slash else 1))
    return allowed


def minutes_of(expression):
    """The minutes of the week at which it is due, sorted."""
    try:
        minute, hour, day_of_month, month, day = expression.split()
        minutes, hours, days = _field(minute, 0, 59), _field(hour, 0, 23), _field(day, 0, 6, DAYS)
    except ValueError:
        raise SettingsError(f"'{expression}' is no cron expression: minute hour day-of-month month "
                            "day-of-week") from None
    if day_of_month not in ("*", "?") or month not in ("*", "?"):
        raise SettingsError(f"'{expression}': the simulator knows the days of a week, and no dates")
    return tuple(sorted(((day - 1) % 7 * 24 + hour) * 60 + minute
                        for day in days for hour in hours for minute in minutes))


def hours_of(metadata):
    """Of a trigger's metadata."""
    return Hours(minutes_of(metadata["start"]), minutes_of(metadata["end"]), int(metadata["desiredReplicas"]))


def _until(minutes, now):
    """How long until one of them comes, from the minute after this one on."""
    at = bisect.bisect_right(minutes, now)
    return minutes[at] - now if at < len(minutes) else minutes[0] + WEEK - now


def is_on(hours, seconds):
    """seconds: since a Monday began."""
    now = seconds / 60 % WEEK
    return _until(hours.ends, now) <= _until(hours.starts, now)
