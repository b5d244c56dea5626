"""Results of a search: champions, finalists, comparisons, costs, the sealed evaluation."""
