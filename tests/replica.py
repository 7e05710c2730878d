# SPDX-License-Identifier: Apache-2.0
"""A second Redis that follows the first, and may become it."""
import redis

from harness import Program, Running, eventually, free_port
from proxy import Proxy


class Replica(Running):
    """A redis-server that follows the one of `servers`, through a proxy that may hold up what it is told."""

    def __init__(self, servers, folder):
        self.link = Proxy(servers.redis_port)
        self.port = free_port()
        self._primary = redis.Redis(port=servers.redis_port)
        argv = ["/usr/bin/redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder),
                "--save", "", "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", str(self.link.port)]
        super().__init__(Program("replica", argv, {"PATH": "/usr/bin"}, f"{folder}/replica.log"))
        self.wait_following()

    def wait_following(self):
        eventually(lambda: self.info("master_link_status") == "up", deadline=30, what="a replica that follows")

    def info(self, name):
        try:
            return redis.Redis(port=self.port).info("replication")[name]
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return None

    def promote(self):
        """It is the primary from now on, with what it has heard."""
        redis.Redis(port=self.port).replicaof("NO", "ONE")

    def hold_up(self):
        """It hears nothing from now on, and takes its connection for a good one."""
        self.link.frozen = True
        eventually(lambda: self._primary.incr("heard") and self._primary.wait(1, 100) == 0)

    def close(self):
        if self.is_alive():
            self.sigcont()
        self.process.kill()
        self.link.close()
