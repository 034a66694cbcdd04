"""What a label printer understands and prints, in two languages."""
