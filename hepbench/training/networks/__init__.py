"""Networks: their recipes, preprocessing, batches, scores and stored weights."""
