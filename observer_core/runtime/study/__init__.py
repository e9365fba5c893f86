"""What is learnt from stored history: how good detectors and policies are, and what they would have done."""
