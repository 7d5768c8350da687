"""What both algorithms share."""
