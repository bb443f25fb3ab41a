"""Local structure of a network as a map: affine pieces, spectra, regions, equilibria, basins."""
