"""What a search came to: champions, finalists, comparisons, costs, the look at the test roles."""
