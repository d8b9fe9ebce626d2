"""Draw figures of results (``hepbench plot``), one kind of figure in each module."""
