"""From logits to spans, from spans to scores: metrics, conventions, floors and intervals."""
