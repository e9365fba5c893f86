"""Figures as a document: which of them are told, in which order, and what they mean."""
