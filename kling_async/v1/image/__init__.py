"""Image endpoints of the first generation, one module for those that are alike."""
