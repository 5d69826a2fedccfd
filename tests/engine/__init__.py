"""Tests of `fastmlp.engine`."""
