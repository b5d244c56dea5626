"""A RayCluster for KubeRay: its keys, doors, pods, sizes and volumes."""
