"""From original files to prepared inputs: finding, fetching, reading, splitting, laying out."""
