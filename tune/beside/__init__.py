"""Looking at studies from beside: watched live, compared, opened in a browser."""
