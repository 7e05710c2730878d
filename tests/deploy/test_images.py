# SPDX-License-Identifier: Apache-2.0
"""The images of docker/: built from a plain checkout, as small as promised, and they run a job of each kind.

Built with buildah on a base made by debootstrap, so no registry and no daemon is needed; some ten minutes and 5 GB.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from harness import LONG, REPOSITORY, eventually, free_port

DOCKER = Path(REPOSITORY, "docker")
BASE = "debian:bookworm-slim"
MB = 1_000_000
# image: Dockerfile, target, most that it may add to the base
IMAGES = {
    "millrace-api": ("Dockerfile.api", None, 60 * MB),
    "millrace-worker": ("Dockerfile.worker", "worker", 80 * MB),
    "millrace-worker-image": ("Dockerfile.worker", "worker-image", 230 * MB),
}


def mirror():
    """The first Debian mirror that this machine's apt uses."""
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        text = file.read_text() if file.is_file() else ""
        found = re.search(r"^(?:deb\s|URIs:).*?(https?://\S*/debian)/?(?=\s|$)", text, re.MULTILINE)
        if found:
            return found.group(1)
    return "http://deb.debian.org/debian"


class Buildah:
    def __init__(self, folder):
        self._words = ["buildah", "--root", folder / "store", "--runroot", folder / "run"]

    def __call__(self, *words, **more):
        done = subprocess.run([*self._words, *words], check=False, capture_output=True, text=True, **more)
        assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def mounted(self, image):
        """A new container of the image, and where its files are."""
        container = self("from", "--pull-never", image)
        return container, Path(self("mount", container))


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    if not LONG:
        pytest.skip("takes ten minutes; runs with --all")
    if not shutil.which("buildah") or not shutil.which("debootstrap"):
        pytest.skip("needs buildah and debootstrap")
    folder = tmp_path_factory.mktemp("images")
    engine = Buildah(folder)
    root = folder / "base"
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root, mirror()], check=True, capture_output=True)
    for folder in ("var/cache", "var/lib/apt/lists", "var/log"):  # as the image has none: they are no part of its size
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    container = engine("from", "scratch")
    engine("add", "-q", container, root, "/")
    engine("commit", "-q", container, BASE)
    engine("rm", container)
    checkout = folder / "checkout"
    subprocess.run(["git", "clone", "-q", REPOSITORY, checkout], check=True)
    for image, (file, target, _) in IMAGES.items():
        aim = ["--target", target] if target else []
        engine("bud", "--isolation", "chroot", "--pull-never", "--layers", "-f", f"docker/{file}", *aim, "-t", image,
               ".", cwd=checkout)
    yield engine
    engine("rm", "--all")
    engine("rmi", "--all", "--force")
    shutil.rmtree(folder)


def size(root):
    """Bytes of the files, hard links once, /proc and the like left out: nothing is mounted there."""
    seen = set()
    for folder, _, names in os.walk(root):
        for name in names:
            found = os.lstat(os.path.join(folder, name))
            seen.add((found.st_ino, found.st_size))
    return sum(bytes_ for _, bytes_ in seen)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_adds_no_more_to_its_base_than_promised(buildah, image):
    _, base = buildah.mounted(BASE)
    container, root = buildah.mounted(image)
    added = size(root) - size(base)
    print(f"{image}: {added / MB:.0f} MB above its base")
    assert 0 < added <= IMAGES[image][2]
    config = buildah("inspect", "--format", "{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}", container)
    assert config.startswith("10001:10001 [/usr/bin/millrace-")


class Container:
    """A process in an image's files, as its user, on the host's network."""

    def __init__(self, buildah, image, blobs, env):
        self._buildah = buildah
        self.name = buildah("from", "--pull-never", image)
        words = [*buildah._words, "run", "--isolation", "chroot", "--volume", f"{blobs}:/var/lib/millrace/blobs"]
        for key, value in env.items():
            words += ["--env", f"{key}={value}"]
        program = "/usr/bin/millrace-api" if image == "millrace-api" else "/usr/bin/millrace-worker"
        self.process = subprocess.Popen([*words, self.name, program])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def test_the_images_run_a_job(buildah, servers, tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    shutil.chown(blobs, 10001, 10001)
    for folder in (blobs, *list(blobs.parents)[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    port, probe = free_port(), free_port()
    shared = {"MILLRACE_AMQP_URL": servers.amqp_url, "MILLRACE_REDIS_URL": servers.redis_url,
              "MILLRACE_LISTEN": "127.0.0.1"}
    running = [Container(buildah, "millrace-api", blobs, {**shared, "MILLRACE_PORT": port}),
               Container(buildah, "millrace-worker-image", blobs, {**shared, "MILLRACE_PROBE_PORT": probe,
                                                                  "MILLRACE_SLOTS": 1})]
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: requests.get(f"http://127.0.0.1:{probe}/readyz", timeout=2).status_code == 200, deadline=60)
        eventually(lambda: requests.get(url + "/readyz", timeout=2).status_code == 200, deadline=60)
        operands = {"A": [[1, 2], [3, 4]], "B": [[5, 6], [7, 8]]}
        made = requests.post(url + "/matrix_multiplication", json=operands, timeout=9)
        answer = requests.get(url + made.json()["links"]["self"] + "?wait=30", timeout=40).json()
        assert answer["state"] == "completed", answer
        result = requests.get(url + made.json()["links"]["result"], timeout=9).json()
        assert result == {"C": [[19, 22], [43, 50]]}
    finally:
        for container in running:
            container.stop()


@pytest.mark.parametrize("image", IMAGES)
def test_each_library_of_an_image_is_there(buildah, image):
    container, root = buildah.mounted(image)
    for program in sorted(root.glob("usr/bin/millrace-*")):
        listed = buildah("run", "--isolation", "chroot", container, "ldd", f"/usr/bin/{program.name}")
        assert "not found" not in listed, listed


def test_docker_and_the_compose_file_name_the_same_images():
    """No engine is needed for that."""
    text = Path(REPOSITORY, "compose.yaml").read_text()
    for image in ("millrace-api", "millrace-worker-image"):
        file, target, _ = IMAGES[image]
        assert f"image: {image}\n" in text and f"docker/{file}" in text
        assert target is None or f"target: {target}" in text
    for file in {file for file, _, _ in IMAGES.values()}:
        targets = re.findall(r"^FROM \S+ AS (\S+)$", (DOCKER / file).read_text(), re.MULTILINE)
        assert {target for name, target, _ in IMAGES.values() if name == file and target} <= set(targets)
