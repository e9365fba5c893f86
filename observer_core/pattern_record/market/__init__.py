"""The patterns of markets, judged subject by subject: prices, volumes and quotes by their role."""
