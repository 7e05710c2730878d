# SPDX-License-Identifier: Apache-2.0
"""How a private RabbitMQ and a private Redis are started.

Everything they write lies under the fleet's folder, everything they listen on
is loopback unless an address is given, and nothing of a server that the
distribution may have started (port 5672, 6379, epmd on 4369, /etc/rabbitmq,
/var/lib/rabbitmq) is used.
"""

import os
import re
import socket
import urllib.parse

from fleet.folder import Refused
from fleet.process import Program

# The script behind Debian's wrapper: that one insists on the user rabbitmq.
RABBITMQ_SERVER = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server")

# In Erlang terms, since reading rabbitmq.conf costs 0.3 s at each start.
# consumer_timeout: a week, above the longest job there can be; it closes the
# channel of a consumer that has not acked for so long. wal_max_size_bytes: the
# default of 512 MiB is for servers with disks of their own.
RABBITMQ_CONFIG = """\
[{{rabbit, [{{consumer_timeout, 604800000}},
           {{default_user, <<"{user}">>}}, {{default_pass, <<"{password}">>}},
           {{disk_free_limit, 67108864}},
           {{vm_memory_high_watermark, 0.4}}]}},
 {{rabbitmq_prometheus, [{{tcp_config, [{{ip, "{address}"}}, {{port, {metrics_port}}}]}}]}},
 {{ra, [{{wal_max_size_bytes, 67108864}}]}}].
"""


NOT_IN_PATHS = "'\"`$\\\n"  # it asks `df` for the room on its disk through a shell, and waits for ever where that fails


class RabbitMQ:
    """Two programs: epmd, which answers for the node's name, and the node.

    epmd is started by us and not by Erlang, which would make a daemon of it
    that outlives everybody. The user is made with the data; one called guest is
    refused beyond loopback. metrics_port: where it tells Prometheus its numbers, 0 for nowhere.
    """

    def __init__(self, folder, address="127.0.0.1", user="guest", password="guest", metrics_port=0):
        if set(folder.path) & set(NOT_IN_PATHS):
            raise Refused(f"RabbitMQ cannot keep its data in {folder.path}: no path with one of {NOT_IN_PATHS}")
        ports = folder.state["ports"]
        self.address, self.port = address, ports["amqp"]
        self.url = f"amqp://{user}:{password}@{address}:{self.port}/%2F"
        env = self._environment(folder, address)
        self.epmd = Program("epmd", [_find("epmd")], env, folder.file("log", "epmd.log"))
        self.node = Program("rabbitmq", [_find(*RABBITMQ_SERVER)], env, folder.file("log", "rabbitmq.log"))
        _write(folder.file("rabbitmq", "advanced.config"), RABBITMQ_CONFIG.format(
            user=user, password=password, address=address, metrics_port=metrics_port))
        _write(folder.file("rabbitmq", "enabled_plugins"), "[rabbitmq_prometheus].\n" if metrics_port else "[].\n")

    @staticmethod
    def _environment(folder, address):
        home = folder.file("rabbitmq")
        ports = folder.state["ports"]
        return {
            **clean_environment(),
            "HOME": home,  # where the cookie is
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(ports["epmd"]),
            "RABBITMQ_ADVANCED_CONFIG_FILE": os.path.join(home, "advanced.config"),
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the node, instead of standing between it and our signals
            "RABBITMQ_CONFIG_FILE": os.path.join(home, "none"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(ports["dist"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(home, "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": os.path.join(home, "config"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": home,
            "RABBITMQ_MNESIA_BASE": os.path.join(home, "data"),
            "RABBITMQ_NODENAME": folder.state["node"],
            "RABBITMQ_NODE_IP_ADDRESS": address,
            "RABBITMQ_NODE_PORT": str(ports["amqp"]),
            "RABBITMQ_PID_FILE": os.path.join(home, "pid"),
            "RABBITMQ_SCHEMA_DIR": os.path.join(home, "schema"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
        }

    def is_ready(self):
        """It opens its port last: when it greets, it serves."""
        return _ask(self.address, self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01\x00\x00")

    def is_settled(self):
        """True when kill -9 would not cost a quorum queue that was declared just now.

        The names of quorum queues reach names.dets a second or two after the
        declaration (seen with 3.10). A node killed before comes back with a
        queue that has no leader, for ever, and without its messages.
        """
        data = os.path.join(self.node.env["RABBITMQ_MNESIA_BASE"], self.node.env["RABBITMQ_NODENAME"], "quorum",
                            self.node.env["RABBITMQ_NODENAME"])
        try:
            with open(os.path.join(data, "names.dets"), "rb") as file:
                names = file.read()
            return all(entry.name.encode() in names for entry in os.scandir(data) if entry.is_dir())
        except FileNotFoundError:
            return True  # no quorum queue yet


SOCKET_PATH_BYTES = 107  # the most that the kernel takes


class Redis:
    """Reached by a socket in the folder, which costs half of what loopback TCP does, and by TCP."""

    def __init__(self, folder, address="127.0.0.1", password=""):
        self.address, self.port, self._password = address, folder.state["ports"]["redis"], password
        login = f":{password}@" if password else ""
        self.tcp_url = f"redis://{login}{address}:{self.port}/0"
        path = folder.file("redis", "redis.sock")
        has_socket = len(os.fsencode(path)) <= SOCKET_PATH_BYTES
        self.url = f"unix://{urllib.parse.quote(path)}" if has_socket else self.tcp_url
        options = {
            "port": self.port, "bind": address, "dir": folder.file("redis"),
            "appendonly": "yes", "appendfsync": "everysec", "save": "",
            "maxmemory-policy": "noeviction", "daemonize": "no",
            "auto-aof-rewrite-min-size": "256mb",  # the default of 64 MB is reached by 100,000 jobs
        }
        if has_socket:
            options.update(unixsocket=path, unixsocketperm=700)
        if password:
            options["requirepass"] = password
        argv = [_find("redis-server")]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        self.node = Program("redis", argv, clean_environment(), folder.file("log", "redis.log"))

    def is_ready(self):
        login = f"AUTH {self._password}\r\n" if self._password else ""
        return b"+PONG" in _ask(self.address, self.port, f"{login}PING\r\n".encode())  # -LOADING while it reads its file

    def is_settled(self):
        return True  # a write is in its file before it is answered


def clean_environment():
    """What a server gets of ours: no settings of other servers, of systemd, of OpenBLAS."""
    kept = {"PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "LOGNAME", "HOME"}
    env = {name: value for name, value in os.environ.items() if name in kept}
    env["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return env


def known_settings(repository):
    """The names in the table of settings, which the daemons check their environment against."""
    with open(os.path.join(repository, "common", "settings.def"), encoding="utf-8") as file:
        return set(re.findall(r'^SETTING\([^"]*"(MILLRACE_[A-Z0-9_]+)"', file.read(), re.MULTILINE))


def _ask(address, port, question):
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.sendall(question)
            return connection.recv(64)
    except OSError:
        return b""


def _find(*names):
    """The first of these programs that exists; PATH may be a poor one (no sbin)."""
    for name in names:
        for folder in ("/usr/local/bin", "/usr/bin", "/usr/sbin"):
            path = os.path.join(folder, name)  # an absolute name stays as it is
            if os.access(path, os.X_OK):
                return path
    raise Refused(f"{os.path.basename(names[0])} is not installed")


def _write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
