"""The formulas of activations, losses and optimizers, and the elementary functions they need.

Each formula exists once and handles single numbers; the compiled step and single layers share it.
"""
