"""What the linear regions of a planar piecewise-linear map say together."""
