# SPDX-License-Identifier: Apache-2.0
"""What a process costs, by /proc: CPU-seconds and memory.

CPU comes in clock ticks (10 ms): fine for runs of a second and more. For
single jobs on_cpu_seconds has nanoseconds, of threads that are still alive.
"""

import os

TICK = 1 / os.sysconf("SC_CLK_TCK")


def _stat(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()  # the name may hold anything


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(word) for word in file.read().split()]
    return found


def own_cpu_seconds(pid):
    """User and system time of the process alone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * TICK


def reaped_cpu_seconds(pid):
    """Of its children that ended and were waited for, and of theirs."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) * TICK


def children_cpu_seconds(pid):
    """Of all its descendants, dead or alive."""
    return reaped_cpu_seconds(pid) + sum(tree_cpu_seconds(child) for child in children(pid))


def tree_cpu_seconds(pid):
    return own_cpu_seconds(pid) + children_cpu_seconds(pid)


def on_cpu_seconds(pid):
    """Time its living threads were on a CPU."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def cpu_count():
    """CPUs this process, and so what it starts, may run on."""
    return len(os.sched_getaffinity(0))


def memory_mb(pid):
    """rss: all resident pages; pss: shared ones split among those that share them; peak: the largest rss so far."""
    sizes = {}
    for name in ("smaps_rollup", "status"):
        with open(f"/proc/{pid}/{name}", encoding="ascii", errors="replace") as file:
            for line in file:
                field, _, value = line.partition(":")
                if field in ("Rss", "Pss", "VmHWM"):
                    sizes[field] = int(value.split()[0]) / 1024
    return {"rss_mb": sizes["Rss"], "pss_mb": sizes["Pss"], "peak_rss_mb": sizes["VmHWM"]}


def reset_peak(pid):
    """The peak begins again at what is resident now."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


class CpuMeter:
    """CPU-seconds by role. roles: {name: function that reads the seconds so far}."""

    def __init__(self, roles):
        self._roles = roles

    def start(self):
        return {name: read() for name, read in self._roles.items()}

    def since(self, start):
        return {name: read() - start[name] for name, read in self._roles.items()}


class HostMeter:
    """How busy the machine was with what is not ours, as a share of all its CPUs: a result taken beside a compiler
    is worth nothing. stolen: time in which the hypervisor ran somebody else."""

    def __init__(self):
        self._before = self._read()

    def shares(self):
        total, busy, stolen, own = (after - before for after, before in zip(self._read(), self._before))
        return {"others_share": max(0.0, busy - own) / total, "stolen_share": stolen / total}

    @staticmethod
    def _read():
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
        busy = user + nice + system + irq + softirq
        return ((busy + idle + iowait + steal) * TICK, busy * TICK, steal * TICK, tree_cpu_seconds(os.getpid()))
