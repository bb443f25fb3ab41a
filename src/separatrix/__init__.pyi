from . import (
    certificates,
    data,
    ensembles,
    figures,
    geometry,
    local,
    report,
    results,
    studies,
    sweeps,
    systems,
    tangent,
    testing,
)
from .certificates.certificate import Certificate, Verdict
from .certificates.certify import certify
from .figures.phase_portraits import phase_portrait
from .geometry.activations import activations
from .geometry.local_ricci import local_ricci
from .geometry.ricci import ricci
from .local.affine import affine
from .local.basins import basins
from .local.equilibria import equilibria
from .local.regions import regions
from .local.spectrum import spectrum
from .results.errors import ArgumentError, SeparatrixWarning
from .results.status import Status
from .sweeps.running import sweep
from .systems import optim, parametrizations
from .systems.depth import Depth
from .systems.flow import Flow
from .systems.listing import layers
from .systems.loop import Loop
from .systems.loop_modules import Euler, Feedback, Scaled
from .systems.maps import Map
from .systems.recurrent import Recurrent
from .systems.training import Training
from .tangent.boundary import decision_boundary
from .tangent.boundary_scores import boundary_scores
from .tangent.covariant import covariant
from .tangent.curve_distance import curve_distance
from .tangent.ftle import ftle
from .tangent.inputs import grid, plane
from .tangent.lyapunov import lyapunov
from .tangent.monitor import Monitor
from .tangent.predict import predict
from .tangent.ridges import ridges
from .tangent.sharpness import sharpness

__all__ = [
    "ArgumentError",
    "Certificate",
    "Depth",
    "Euler",
    "Feedback",
    "Flow",
    "Loop",
    "Map",
    "Monitor",
    "Recurrent",
    "Scaled",
    "SeparatrixWarning",
    "Status",
    "Training",
    "Verdict",
    "activations",
    "affine",
    "basins",
    "boundary_scores",
    "certificates",
    "certify",
    "covariant",
    "curve_distance",
    "data",
    "decision_boundary",
    "ensembles",
    "equilibria",
    "figures",
    "ftle",
    "geometry",
    "grid",
    "layers",
    "local",
    "local_ricci",
    "lyapunov",
    "optim",
    "parametrizations",
    "phase_portrait",
    "plane",
    "predict",
    "regions",
    "report",
    "results",
    "ricci",
    "ridges",
    "sharpness",
    "spectrum",
    "studies",
    "sweep",
    "sweeps",
    "systems",
    "tangent",
    "testing",
]
