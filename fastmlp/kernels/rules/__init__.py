"""The formulas: activations, losses, optimizers and the functions they need, for one number each.

Each stands here once and is used by the compiled step and by single layers alike.
"""
