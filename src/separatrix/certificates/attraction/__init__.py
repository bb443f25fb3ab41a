"""Regions of attraction: ellipsoids and cells whose chords from the equilibrium shrink."""
