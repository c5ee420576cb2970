"""A pipeline's history on one page: what is read of it, what is computed, and how it is drawn."""
