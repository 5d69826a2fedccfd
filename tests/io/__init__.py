"""Tests of `fastmlp.io`."""
