"""Outputs, predictions and scores of a trained network, and predictors for single rows.

Nothing here changes a network.
"""
