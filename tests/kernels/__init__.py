"""Tests of `fastmlp.kernels`."""
