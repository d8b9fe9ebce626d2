"""Networks: built from recipes, fed with batches, scored, and stored."""
