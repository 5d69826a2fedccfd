"""Tests of `fastmlp.inputs`."""
