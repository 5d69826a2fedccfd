"""Searches for good parameters: `SearchCV`, its picture, and ranges to search.

A subpackage of its own because scikit-learn's model selection takes time to import.
"""

from .display import SearchDisplay
from .search_cv import SearchCV
from .space import search_space

__all__ = ["SearchCV", "SearchDisplay", "search_space"]
