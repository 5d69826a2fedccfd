"""Tests of `fastmlp.training`."""
