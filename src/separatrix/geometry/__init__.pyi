from .coefficients import adjusted, aggregate, expansion, halves, regression_to_the_mean, ricci_coefficient, select_k
from .communities import curvature_gap, modularity, normalised_cut
from .components import Components, connectivity, least_connecting_k
from .edge_values import edge_total, node_curvature
from .forman_curvature import forman, triangles
from .geodesics import TotalGeodesic, hops, total_geodesic
from .graphs import Graph, degrees, graph, read_graph, reciprocity, total_curvature
from .nearest import Neighbours, neighbour_counts, neighbours
from .nulls import permute_layers, permute_pairs
from .ollivier_curvature import OllivierBounds, ollivier, ollivier_bounds
from .untrained import untrained_twin

__all__ = [
    "Components",
    "Graph",
    "Neighbours",
    "OllivierBounds",
    "TotalGeodesic",
    "adjusted",
    "aggregate",
    "connectivity",
    "curvature_gap",
    "degrees",
    "edge_total",
    "expansion",
    "forman",
    "graph",
    "halves",
    "hops",
    "least_connecting_k",
    "modularity",
    "neighbour_counts",
    "neighbours",
    "node_curvature",
    "normalised_cut",
    "ollivier",
    "ollivier_bounds",
    "permute_layers",
    "permute_pairs",
    "read_graph",
    "reciprocity",
    "regression_to_the_mean",
    "ricci_coefficient",
    "select_k",
    "total_curvature",
    "total_geodesic",
    "triangles",
    "untrained_twin",
]
