"""From a suite to cells and stages with content keys. Pure."""
