"""Whether a text bears a statement out: names, numbers, dates and negations. Pure, and linear in the text."""
