"""Tables as people have them: columns of numbers, categories and dates become a network's inputs.

`frames` reads a table, `preparation` learns what to do with each column, `recipes` makes networks.
"""
