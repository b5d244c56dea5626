"""A study as one page for people: figures, a verdict in words, and what stands behind them."""
