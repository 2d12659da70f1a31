"""What makes a run safe to repeat."""
