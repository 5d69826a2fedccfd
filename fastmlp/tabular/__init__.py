"""Tables of mixed columns: numbers, categories and dates become a network's inputs.

`frames` reads a table, `preparation` learns what to do with each column, `recipes` makes networks.
"""
