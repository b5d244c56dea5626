"""A cluster on one machine whose autoscaler starts and ends its nodes, until input ends.

Ray's own class for this cannot be used as it is: its template is not part of the published wheel.
"""

from __future__ import annotations

import sys
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.cluster_utils import AutoscalingCluster

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
STORE = {"object_store_memory": 80_000_000}
LISTS = (
    *("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands"),
    *("setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
)


class Cluster(AutoscalingCluster):
    """Nodes of one kind, from none to two, that leave after some seconds without work."""

    def _generate_config(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {
            "cluster_name": "one-machine",
            "max_workers": 2,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 0.2,
            **{name: [] for name in LISTS},
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            "file_mounts_sync_continuously": False,
            "provider": {
                "type": "external",
                "module": PROVIDER,
                "launch_multiple": True,
                "head_node_id": FAKE_HEAD_NODE_ID,
            },
            "head_node_type": "ray.head.default",  # the provider's own name for it
            "available_node_types": {
                "ray.head.default": {
                    "resources": {"CPU": 0, **STORE},
                    "node_config": {},
                    "max_workers": 0,
                },
                "spot": {
                    "resources": {"CPU": 1, **STORE},
                    "node_config": {},
                    "min_workers": 0,
                    "max_workers": 2,
                },
            },
        }


if __name__ == "__main__":
    cluster = Cluster({"CPU": 0, **STORE}, {}, autoscaler_v2=True)
    cluster.start()
    print("started", flush=True)
    sys.stdin.read()
    cluster.shutdown()
