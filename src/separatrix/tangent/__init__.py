"""How perturbations grow: finite-time exponents along depth, and the exact products behind them."""
