"""From the end of a search to its result: finalists on fresh seeds, and the one sealed look."""
