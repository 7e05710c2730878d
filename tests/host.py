# SPDX-License-Identifier: Apache-2.0
"""A Debian host that a test may install things on: systemd in a container.

Its files are those of this machine with a memory of their own above them, so
nothing is downloaded and nothing stays. Its network is its own, without a way
out. It ends with this interpreter, however that ends.
"""

import os
import shutil
import subprocess

from fleet.process import Process, Program, children_of
from harness import eventually

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TRIAL = """\
mount -t tmpfs none /mnt && mkdir /mnt/above /mnt/work /mnt/root &&
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/above,workdir=/mnt/work /mnt/root
"""

# What servers of this machine may have left is not what a plain host has.
BOOT = """\
set -e
mount -t tmpfs none "$1"
mkdir "$1/above" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/above,workdir=$1/work" "$1/root"
cd "$1/root"
rm -rf var/lib/rabbitmq/mnesia var/lib/redis/* var/lib/millrace etc/millrace
echo "127.0.0.1 localhost $2" >etc/hosts
shift 2
exec systemd-nspawn --quiet --directory=. --boot --register=no --keep-unit --private-network --resolv-conf=off "$@"
"""


def why_not_here():
    """What is missing for such a host; empty if nothing is."""
    for program in ("systemd-nspawn", "ansible-playbook", "unshare", "ip"):
        if not shutil.which(program, path=PATH):
            return f"{program} is not installed"
    tried = subprocess.run(["unshare", "--mount", "--net", "sh", "-c", TRIAL], capture_output=True, text=True, check=False)
    return tried.stderr.strip() or f"status {tried.returncode}" if tried.returncode else ""


class Host:
    """address: of its one network card. visible: folders of this machine that it sees, at the same place."""

    def __init__(self, name, address, folder, visible):
        self._root = os.path.join(folder, "host")
        os.makedirs(self._root)
        binds = [f"--bind-ro={path}" for path in visible]
        self.log = os.path.join(folder, "host.log")
        self._nspawn = Process(Program(name, ["unshare", "--mount", "sh", "-c", BOOT, "boot", self._root, name,
                                              f"--machine={name}", *binds], {"PATH": PATH}, self.log))
        try:
            self._wait_booted()
            self.run("ip", "link", "add", "lan", "type", "bridge")
            self.run("ip", "address", "add", f"{address}/24", "dev", "lan")
            self.run("ip", "link", "set", "lan", "up")
        except BaseException:
            self.close()
            raise

    def _wait_booted(self):
        eventually(self._is_booted, deadline=60, what=f"systemd is up; see {self.log}")

    def _is_booted(self):
        children = children_of(self._nspawn.pid)
        if not children:
            return False
        self._enter = ["nsenter", f"--target={children[-1]}", "--all", "--"]
        asked = self.try_run("systemctl", "is-system-running")
        return asked.stdout.strip() in ("running", "degraded")

    def try_run(self, *words, **more):
        return subprocess.run([*self._enter, "env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", *map(str, words)],
                              capture_output=True, text=True, check=False, **more)

    def run(self, *words, **more):
        """What it printed."""
        done = self.try_run(*words, **more)
        assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr}"
        return done.stdout

    def close(self):
        self._nspawn.kill()
