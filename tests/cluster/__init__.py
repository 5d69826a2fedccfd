"""Tests of `fastmlp.cluster` and of what trains on it."""
