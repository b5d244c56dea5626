"""A study as one HTML page: a headline in words, figures, and the numbers behind them."""
