"""Tests of `fastmlp.serving`."""
