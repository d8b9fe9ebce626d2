"""The plugin API: specs, parameters, training data, errors, and interfaces for plugins."""
