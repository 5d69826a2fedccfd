"""Tests of `fastmlp.optim`."""
