"""Clusters: what is wrong with a cluster file, and with a cluster that runs."""
