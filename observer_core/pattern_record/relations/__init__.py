"""What series say of one another: relations that hold (pegs, premiums), and correlations."""
