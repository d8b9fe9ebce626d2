"""What plugins meet: specs, their parameters, examples, and errors."""
