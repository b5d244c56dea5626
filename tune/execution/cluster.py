"""Starting Ray, or joining a cluster, and refusing resources that it can never give."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from refkd.errors import RefKDError
from refkd.scoped import handlers_kept, log_levels, variables
from tune import compat
from tune.config.limits import Resources
from tune.execution.machines import check_resources, machines_coming, machines_there

# Set before Ray is imported: its own loggers and metrics would write what the study holds already.
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ENABLE_METRICS_COLLECTION": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_PATIENCE = 20.0
"""Seconds that a head has to accept a connection."""


@contextmanager
def ray_session(resources: Resources, *, address: str | None) -> Iterator[None]:
    """Run the body with Ray: one started here, or the cluster at `address`."""
    with _connected(address, logging.WARNING):
        coming = [] if address is None else machines_coming()
        check_resources(resources, machines_there(), coming)
        yield


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Run the body in a cluster that runs; `RefKDError` where it cannot be joined."""
    with _connected(address, logging.ERROR):
        yield


@contextmanager
def _connected(address: str | None, level: int) -> Iterator[None]:
    """Import Ray with the environment and the log levels that a search wants, and connect."""
    with variables(_ENVIRONMENT, kept=["PYTHONBREAKPOINT"]), handlers_kept(signal.SIGTERM):
        import ray

        with log_levels({"ray": level, compat.TOKEN_LOGGER: logging.ERROR}):
            if address is None:
                _start(level)
            else:
                _join(address, level)
            try:
                yield
            finally:
                ray.shutdown()


def _start(level: int) -> None:
    """Start Ray here, with its files, such as its token, readable by this user alone."""
    import ray

    before = os.umask(0o077)
    try:
        ray.init(
            address="local",  # else it would join a cluster of this machine
            num_cpus=os.cpu_count() or 1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=level,
        )
    finally:
        os.umask(before)


def _join(address: str, level: int) -> None:
    """Connect to a cluster; fail at once where nothing listens: Ray would try for minutes."""
    import ray

    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "/" not in host:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
        ray.init(address=address, log_to_driver=False, logging_level=level)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RefKDError(
            f"--address {address}: no cluster answers ({reason}); run this on the head, with "
            "RAY_AUTH_MODE and the token of the cluster"
        ) from None
