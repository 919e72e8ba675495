"""What the site of the documentation adds to Sphinx."""
