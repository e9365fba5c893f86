"""Copies of the whole store in another place: made while it runs, small each time, checked, brought back."""
