"""What answers over http."""
