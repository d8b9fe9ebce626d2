"""One method applied to one model: the training loop, validation, and checks of the result."""
