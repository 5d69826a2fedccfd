"""Tests of `fastmlp.datasets`."""
