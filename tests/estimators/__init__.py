"""Tests of `fastmlp.estimators`."""
