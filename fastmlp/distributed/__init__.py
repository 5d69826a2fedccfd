"""Training by several processes, which share the rows and the parameters of each step.

`ranks` says which process has which part, `sums` adds gradients, and `steps` makes the steps.
"""
