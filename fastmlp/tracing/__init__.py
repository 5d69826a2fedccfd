"""Traces: all numbers of one sample's training step.

`recorder` makes a trace, `trace` defines the object that users get, `story` prints it.
"""
