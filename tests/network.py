# SPDX-License-Identifier: Apache-2.0
"""Several machines on one: network namespaces on a bridge, and programs inside of them.

    Network(names)   machines with addresses of their own (192.0.2.0/24, which
                     nobody has), the bridge in the first one
    machine.within   words before a program's name: it then sees that machine's
                     network and host name, and its mounts
    inside(machine)  this thread, and what it starts, on that machine's network

A namespace lives as long as the process that holds it, and its interfaces as
long as the namespace. The holders die with this interpreter, however that
ends: nothing has to be tidied up.
"""

import contextlib
import ctypes
import os
import subprocess

from fleet.process import Process, Program
from harness import eventually

CLONE_NEWNET = 0x40000000
HOLD = ["unshare", "--net", "--uts", "--mount"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_libc = ctypes.CDLL(None, use_errno=True)


def why_not_here():
    """What forbids namespaces and bridges, in the words of the tools; empty if nothing does."""
    try:
        tried = subprocess.run([*HOLD, "ip", "link", "add", "bridge", "type", "bridge"], env={"PATH": PATH},
                               capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        return str(missing)
    return tried.stderr.strip() or f"status {tried.returncode}" if tried.returncode else ""


class Machine:
    def __init__(self, name, address, folder):
        self.name, self.address = name, address
        self.folder = os.path.join(str(folder), name)
        os.makedirs(self.folder)
        self.holder = Process(Program(name, [*HOLD, "sleep", "infinity"], {"PATH": PATH},
                                      os.path.join(self.folder, "holder.log")))
        eventually(self._has_spaces, what=f"namespaces of {name}")
        self.within = ["nsenter", f"--target={self.holder.pid}", "--net", "--uts", "--mount", "--"]
        self.run("hostname", name)
        self.run("ip", "link", "set", "lo", "up")

    def _has_spaces(self):
        return all(os.readlink(f"/proc/{self.holder.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
                   for kind in ("net", "uts", "mnt"))

    def run(self, *words):
        done = subprocess.run([*self.within, *words], env={"PATH": PATH}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{self.name}: {' '.join(words)}: {done.stderr}"
        return done.stdout

    def hide(self, path):
        """Whatever lies there is not there for programs of this machine."""
        self.run("mount", "-t", "tmpfs", "none", path)


class Network:
    """The machines in the order of their names; the first has the bridge."""

    def __init__(self, names, folder):
        self.machines = []
        try:
            for number, name in enumerate(names, 1):
                self.machines.append(Machine(name, f"192.0.2.{number}", folder))
            self.head = self.machines[0]
            self.head.run("ip", "link", "add", "bridge", "type", "bridge")
            self.head.run("ip", "address", "add", f"{self.head.address}/24", "dev", "bridge")
            self.head.run("ip", "link", "set", "bridge", "up")
            for machine in self.machines[1:]:
                self._plug_in(machine)
        except BaseException:
            self.close()
            raise

    def _plug_in(self, machine):
        self.head.run("ip", "link", "add", machine.name, "type", "veth", "peer", "name", "uplink",
                      "netns", str(machine.holder.pid))
        self.head.run("ip", "link", "set", machine.name, "master", "bridge", "up")
        machine.run("ip", "address", "add", f"{machine.address}/24", "dev", "uplink")
        machine.run("ip", "link", "set", "uplink", "up")

    def cut(self, machine):
        """As if its cable were pulled at the switch: the machine itself sees its link go down, and no packet passes."""
        self.head.run("ip", "link", "set", machine.name, "down")

    def mend(self, machine):
        self.head.run("ip", "link", "set", machine.name, "up")

    def close(self):
        for machine in self.machines:
            machine.holder.kill()


@contextlib.contextmanager
def inside(machine):
    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/proc/{machine.holder.pid}/ns/net", "rb") as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)


def _enter(namespace):
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
