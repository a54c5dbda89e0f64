"""The masked network of one pass: keyed dropout, and what makes its products fast."""
