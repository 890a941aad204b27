"""gunicorn's configuration: gevent workers, each of which serves thousands of waiting requests."""

import errno
import gc
import logging
import os
import shutil
import socket
import sys

import gevent
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from core.directories import require_folders
from core.private_files import private_directory
from core.settings import SettingsError
from interop.matrix.terms import TermsOfService
from settings import Settings
from sms.routing_file import load_routing
from verification import catalogues
from verification.policy.file import load_policy


def _loaded() -> Settings:
    """Read the settings and the files they name; exit with every error before a worker starts."""
    try:
        settings = Settings.load()
    except SettingsError as error:
        sys.exit(str(error))
    faults = []
    for check in (
        lambda: require_folders(settings),
        lambda: catalogues.require(settings.default_locale),
        lambda: load_routing(settings, settings.sms_provider),
        lambda: load_policy(settings.policy_file, is_set=True),
        lambda: TermsOfService(settings.matrix_terms_file),
    ):
        try:
            check()
        except SettingsError as error:
            faults.append(str(error))
    if faults:
        sys.exit("\n".join(faults))
    return settings


settings = _loaded()
#: In brackets if it is an IPv6 address.
host = f"[{settings.host}]" if ":" in settings.host and settings.host[0] != "[" else settings.host

metrics_directory = settings.data_dir.resolve() / "metrics" / str(os.getpid())
if settings.workers > 1:
    # prometheus_client reads it once, at its first import.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_directory)

bind = [f"{host}:{port}" for port in (settings.port, settings.metrics_port) if port is not None]
worker_class = "core.serving.worker.KithWorker"
logger_class = "core.serving.log.RedactedLogger"
workers = settings.workers
timeout = 120
graceful_timeout = settings.stop_seconds
keepalive = 75
accesslog = None
# Its socket would be in the home directory, one for all servers of a user; signals are enough.
control_socket_disable = True
loglevel = "warning" if settings.log_level == "info" else settings.log_level
# core/requester.py reads X-Forwarded-* by KITH_TRUSTED_PROXIES; gunicorn must not.
forwarded_allow_ips = ""
limit_request_line = 8190
limit_request_fields = 60


def on_starting(server: Arbiter) -> None:
    """Check that the ports are free, and create an empty metrics directory."""
    _require_ports(server.cfg.address)
    if settings.workers > 1:
        shutil.rmtree(metrics_directory, ignore_errors=True)
        private_directory(settings.data_dir)
        metrics_directory.mkdir(parents=True)


def _require_ports(addresses: list[tuple[str, int] | str | int]) -> None:
    """Exit with one line if a port is not available; gunicorn would retry for five seconds."""
    if "GUNICORN_FD" in os.environ or "LISTEN_FDS" in os.environ:
        return  # The sockets are handed over by the server before, or by systemd.
    for address in addresses:
        if not isinstance(address, tuple):
            continue
        name = "KITH_METRICS_PORT" if address[1] == settings.metrics_port else "KITH_PORT"
        try:
            with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            advice = {
                errno.EADDRINUSE: f"port {address[1]} is taken: end what listens there, or set"
                f" {name} to another port",
                errno.EACCES: f"port {address[1]} is for root: set {name} to 1024 or more",
            }.get(error.errno or 0, f"{address[0]} is no address of this machine: set KITH_HOST")
            sys.exit(f"Kith cannot start: {advice}.")


def child_exit(server: object, worker: Worker) -> None:
    """Drop a dead worker's gauges; keep its counters."""
    if settings.workers > 1:
        # Not at the top: it must not be imported before the directory is named.
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)


def worker_exit(server: object, worker: Worker) -> None:
    """Close provider and Valkey connections, in the worker."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["kith"].close()
    if getattr(worker, "has_ended", False):
        # Python would wait for all threads, and one may hang in a request to a provider or a name server.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def on_exit(server: object) -> None:
    """Remove the metrics directory."""
    shutil.rmtree(metrics_directory, ignore_errors=True)


def post_request(worker: object, request: object, environ: object, response: object) -> None:
    """Yield to other greenlets: a connection with a queued request would keep the worker."""
    gevent.sleep(0)


def post_worker_init(worker: Worker) -> None:
    """Prepare a worker that has loaded the application."""
    _collect_less_often()


def _collect_less_often() -> None:
    """Exclude loaded objects from garbage collection, and collect less often.

    Thousands of messages in flight trigger collections that scan every live object: a third of the cost of a
    message (python -m bench.messaging).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def when_ready(server: object) -> None:
    """Print the addresses."""
    address = f"http://{host}:{settings.port}"
    lines = [f"Kith answers at {address}", f"  API      {address}/docs"]
    if settings.mock_sms:
        lines.append(f"  texts    {address}/dev/outbox   (mock provider: nothing is sent)")
    print("\n".join(lines), flush=True)
