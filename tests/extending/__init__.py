"""Tests of `fastmlp.extending`."""
