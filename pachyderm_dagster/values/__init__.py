"""Values of Python as files, and files as values."""
