"""What the Observer does by itself: it hands its records to those who asked for them."""
