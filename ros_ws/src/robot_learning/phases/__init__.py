"""One learning update each, and the loop that runs them."""
