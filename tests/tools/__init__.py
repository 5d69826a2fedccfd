"""Tests of `fastmlp.tools`."""
