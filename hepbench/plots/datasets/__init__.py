"""Draw figures of datasets (``hepbench data plot``), class by class."""
