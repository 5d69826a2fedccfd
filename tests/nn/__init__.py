"""Tests of `fastmlp.nn`."""
