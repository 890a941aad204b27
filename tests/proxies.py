"""Real reverse proxies for tests, as Debian packages them, in front of servers of the test's own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 10.0

NGINX = """\
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream kith {{ {servers} keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://kith;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_read_timeout 120s;
        }}
    }}
}}
"""

HAPROXY = """\
global
    maxconn 1000
defaults
    mode http
    timeout connect 2s
    timeout client 120s
    timeout server 120s
    timeout tunnel 1h
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
frontend front
    bind 127.0.0.1:{port}
    default_backend kith
backend kith
    http-reuse safe
{servers}
"""


def binary(name: str) -> str:
    """Find a proxy, on the path or where TEST_PROXIES says packages are unpacked; skips without one."""
    unpacked = os.environ.get("TEST_PROXIES", "")
    found = shutil.which(name, path=os.pathsep.join((unpacked, "/usr/sbin", os.environ["PATH"])))
    if found is None:
        pytest.skip(f"{name}, as Debian packages it, is not installed here")
    return found


@contextmanager
def proxy(name: str, backends: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Serve the backends together in this block; give the proxy's own address."""
    program = binary(name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix=f"kith-{name}-") as directory:
        if name == "nginx":
            servers = " ".join(f"server {h}:{p} max_fails=0;" for h, p in backends)
            text = NGINX.format(directory=directory, servers=servers, port=port)
        else:
            servers = "\n".join(
                f"    server s{n} {h}:{p} check inter 100ms fall 1 rise 1"
                for n, (h, p) in enumerate(backends)
            )
            text = HAPROXY.format(servers=servers, port=port)
        file = Path(directory, "proxy.conf")
        file.write_text(text)
        command = {
            "nginx": [program, "-p", directory, "-e", f"{directory}/error.log", "-c", str(file)],
            "haproxy": [program, "-db", "-f", str(file)],
        }[name]
        log = Path(directory, "output.log")
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _await_listener(port, process, log)
            yield "127.0.0.1", port
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _await_listener(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"the proxy did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
