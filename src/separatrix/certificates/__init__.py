"""What can be proved of x+ = f(x): norms, contraction, attraction, and witnesses against them."""
