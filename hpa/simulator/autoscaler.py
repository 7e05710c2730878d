# SPDX-License-Identifier: Apache-2.0
"""The Cluster Autoscaler: one loop that orders nodes for pods without one, or else ends nodes that nobody needs.

As kubernetes/autoscaler does it: core/static_autoscaler.go (order of the loop,
cool-downs), core/scaledown/planner and eligibility (who may go, the memory of
those who may not), unneeded (since when), actuation (how many at a time).
"""


class Room:
    """What is free on a node, or on one that could be ordered; pods are placed on it in thought."""

    def __init__(self, group, node=None):
        self.group = group
        self.cpu = group.cpu - (node.cpu if node else group.daemons_cpu)
        self.memory = group.memory - (node.memory if node else group.daemons_memory)
        self.pods = group.pods_max - (len(node.pods) if node else 0)

    def take(self, workload):
        if (self.cpu < workload.cpu or self.memory < workload.memory or self.pods < 1
                or not self.group.takes(workload)):
            return False
        self.cpu -= workload.cpu
        self.memory -= workload.memory
        self.pods -= 1
        return True


class Autoscaler:
    def __init__(self, clock, diary, flags, world, cloud, scheduler, evict):
        self._clock, self._diary, self._flags, self._world = clock, diary, flags, world
        self._cloud, self._scheduler, self._evict = cloud, scheduler, evict
        self._added_at = self._removed_at = float("-inf")
        self._full = {}        # workload -> its pods that no node may be ordered for, as it was said last
        self._unneeded = {}    # node -> since when
        self._recheck = {}     # node -> not looked at before this time
        self._leaving = set()  # being emptied or ended
        clock.every(flags.scan, clock.dice("cluster autoscaler").random() * flags.scan, self._scan)

    def _scan(self):
        now = self._clock.now
        without = self._without_room()
        if without and now - min(pod.created for pod in without) < self._world.pods_new:
            self._look_for_unneeded(now)  # more of them may be on their way; and nothing is ended meanwhile
            return
        if without and self._order(without):
            self._added_at = now
            return
        self._look_for_unneeded(now)
        flags = self._flags
        if self._added_at + flags.delay_after_add <= now and self._removed_at + flags.delay_after_delete <= now:
            self._remove(now)

    # ---- more nodes --------------------------------------------------------

    def _without_room(self):
        """Pending pods that would not fit on what there is and what is on its way."""
        rooms = [Room(node.group, node) for node in self._cloud.nodes if not node.is_leaving]
        return [pod for pod in self._scheduler.pending() if not any(room.take(pod.workload) for room in rooms)]

    def _order(self, pods):
        """Nodes for these pods, each of the group that wastes least; True when any was ordered."""
        rooms, full = [], {}
        for pod in pods:
            if any(room.take(pod.workload) for room in rooms):
                continue
            group = self._cheapest(pod.workload)
            if group and self._may_grow(group, rooms):
                rooms.append(Room(group))
                rooms[-1].take(pod.workload)
            else:
                full[pod.workload] = full.get(pod.workload, 0) + 1
        for group in {room.group: None for room in rooms}:
            count = sum(room.group is group for room in rooms)
            self._diary.note("autoscaler", "{} pods have no room: {} more nodes of {}", len(pods), count, group.name)
            self._cloud.order(group, count)
        for workload, count in full.items():
            if self._full.get(workload) != count:
                self._diary.note("autoscaler", "{} pods of {} fit no group of nodes that may still grow", count,
                                 workload.name)
        self._full = full
        return bool(rooms)

    def _cheapest(self, workload):
        choices = [(group.waste(workload), group.name, group) for group in self._cloud.groups
                   if Room(group).take(workload)]
        return min(choices)[2] if choices else None

    def _may_grow(self, group, rooms):
        """By one node, on top of those that this loop wants already."""
        return (self._cloud.count(group) + sum(room.group is group for room in rooms) < group.max
                and len(self._cloud.nodes) + len(rooms) < self._flags.nodes_max)

    # ---- fewer nodes -------------------------------------------------------

    def _look_for_unneeded(self, now):
        found = {}
        destinations = [node for node in self._cloud.nodes if node.is_open()]
        for node in list(destinations):
            if self._recheck.get(node, 0) > now or node.use(self._flags.ignores_daemons) >= self._flags.threshold:
                continue
            if self._can_move(node, destinations):
                found[node] = self._unneeded.get(node, now)
                destinations.remove(node)
            else:
                self._recheck[node] = now + self._flags.recheck
                self._diary.note("autoscaler", "{} is {:.0%} in use by pods that may not be evicted: "
                                 "looked at again in {:g} s", node.name,
                                 node.use(self._flags.ignores_daemons), self._flags.recheck)
        for node in found:
            if node not in self._unneeded:
                self._diary.note("autoscaler", "{} is unneeded", node.name)
        self._unneeded = found
        self._recheck = {node: time for node, time in self._recheck.items() if time > now}

    def _can_move(self, node, destinations):
        """Whether every pod of the node may be evicted and would fit elsewhere. An empty node has none."""
        if any(not self._flags.may_evict(pod.workload) for pod in node.pods):
            return False
        rooms = [Room(other.group, other) for other in destinations if other is not node]
        return all(pod.is_deleted or any(room.take(pod.workload) for room in rooms) for pod in node.pods)

    def _remove(self, now):
        due = [node for node, since in self._unneeded.items()
               if since + self._flags.unneeded < now and node not in self._leaving]
        empty = [node for node in due if not node.pods]
        room = self._flags.parallelism - len(self._leaving)
        drains = self._flags.drains - sum(bool(node.pods) for node in self._leaving)
        chosen = empty[:max(0, room)]
        if len(chosen) < room and drains > 0:
            chosen += [node for node in due if node.pods][:drains]
        taken = {}
        for node in chosen:
            if self._cloud.count(node.group) - taken.get(node.group, 0) > node.group.min:
                taken[node.group] = taken.get(node.group, 0) + 1
                self._begin(node, now)

    def _begin(self, node, now):
        self._removed_at = now
        self._leaving.add(node)
        del self._unneeded[node]
        node.is_leaving = True
        if node.pods:
            self._diary.note("autoscaler", "ends {}, whose {} pods are evicted", node.name, len(node.pods))
            for pod in list(node.pods):
                self._evict(pod, self._flags.graceful)
            self._clock.after(1.0, self._wait_empty, node)
        else:
            self._diary.note("autoscaler", "ends {}, empty for {:.0f} s", node.name, self._flags.unneeded)
            self._clock.after(self._flags.delay_after_taint, self._end, node)

    def _wait_empty(self, node):
        if node.pods:
            self._clock.after(1.0, self._wait_empty, node)
        else:
            self._end(node)

    def _end(self, node):
        self._leaving.discard(node)
        self._cloud.end(node)
