# SPDX-License-Identifier: Apache-2.0
"""Settings and keys: what a daemon refuses to start with, and whom a gateway answers."""
import hashlib
import os
import subprocess

import pytest
import requests

from harness import BUILD, free_port


def start_refused(program, **env):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_")}
    ended = subprocess.run([os.path.join(BUILD, program)], env={**clean, **env}, capture_output=True, text=True,
                           timeout=20)
    assert ended.returncode == 2, ended
    return ended.stderr


@pytest.mark.parametrize("program", ["millrace-api", "millrace-worker"])
def test_unknown_and_malformed_settings_are_refused_by_name(program):
    assert "MILLRACE_PROT is no setting" in start_refused(program, MILLRACE_PROT="1")
    assert "MILLRACE_PORT" in start_refused(program, MILLRACE_PORT="eighty")
    assert "quorum|classic" in start_refused(program, MILLRACE_QUEUE_TYPE="stream")
    assert "MILLRACE_REDIS_URL" in start_refused(program, MILLRACE_REDIS_URL="http://127.0.0.1/")
    assert "MILLRACE_AMQP_URL" in start_refused(program, MILLRACE_AMQP_URL="nonsense://x")


def test_unknown_kinds_are_refused():
    assert "fortune" in start_refused("millrace-worker", MILLRACE_KINDS="hash,fortune")


def test_arguments_are_refused():
    ended = subprocess.run([os.path.join(BUILD, "millrace-api"), "--port=1"], capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2 and "--port=1" in ended.stderr


def test_beyond_loopback_only_with_keys_or_a_word(tmp_path):
    assert "MILLRACE_API_KEY_FILE" in start_refused("millrace-api", MILLRACE_LISTEN="0.0.0.0")
    said = start_refused("millrace-api", MILLRACE_LISTEN="localhost", MILLRACE_INSECURE="1")
    assert "no IP address" in said and "whoever reaches this address may submit" in said
    keys = tmp_path / "keys"
    assert "No such file" in start_refused("millrace-api", MILLRACE_API_KEY_FILE=str(keys))
    for content in ("", "# nothing\n", "name-without-hash\n", "name:abc\n", ":" + "0" * 64 + "\n"):
        keys.write_text(content)
        assert "MILLRACE_API_KEY_FILE" in start_refused("millrace-api", MILLRACE_API_KEY_FILE=str(keys))


def test_keys_guard_every_call_but_the_probes(servers, make_fleet, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# two people\nalice:%s\nbob:%s\n" % (hashlib.sha256(b"open sesame").hexdigest(),
                                                          hashlib.sha256(b"swordfish").hexdigest().upper()))
    fleet = make_fleet(servers)
    metrics_port = free_port()
    gateway = fleet.start_gateway(MILLRACE_API_KEY_FILE=keys, MILLRACE_METRICS_PORT=metrics_port)

    def status(method, path, key=None, **more):
        headers = {"Authorization": key} if key else {}
        return requests.request(method, gateway.url + path, headers=headers, timeout=10, **more).status_code

    assert status("GET", "/healthz") == status("GET", "/readyz") == 200
    for key in (None, "Bearer wrong", "Bearer ", "Basic open sesame", "open sesame", "Bearer open sesame "[:-2]):
        assert status("GET", "/stats", key) == 401
        assert status("GET", "/metrics", key) == 401
        assert status("PUT", "/enqueue?iterations=1", key, data=b"x") == 401
        assert status("PUT", "/enqueue?iterations=1", key, data=b"x" * 1000000) == 401
    assert status("GET", "/stats", "Bearer open sesame") == 200
    assert status("PUT", "/enqueue?iterations=1", "bearer swordfish", data=b"x") == 202
    open_metrics = requests.get(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10)
    assert open_metrics.status_code == 200 and "millrace_jobs_accepted_total" in open_metrics.text
    for path, wanted in (("/healthz", 200), ("/readyz", 200), ("/stats", 404)):
        assert requests.get(f"http://127.0.0.1:{metrics_port}{path}", timeout=10).status_code == wanted


def test_a_taken_port_is_named(servers, make_fleet):
    gateway = make_fleet(servers).start_gateway()
    port = gateway.url.rsplit(":", 1)[1]
    assert f"port {port}" in start_refused("millrace-api", MILLRACE_PORT=port)
