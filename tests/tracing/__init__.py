"""Tests of `fastmlp.tracing`."""
