"""The gate over stored journals: what it reads, how it is asked, and what is recorded of that."""
