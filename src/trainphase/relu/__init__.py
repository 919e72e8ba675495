"""Fast solvers of ReLU networks."""
