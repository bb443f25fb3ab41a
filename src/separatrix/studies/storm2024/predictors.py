"""Beyond the letter: whether the exponent foretells errors and adversarial margins better than simpler numbers."""

from __future__ import annotations

from separatrix.studies.storm2024.attack import Search
from separatrix.studies.storm2024.digit_looks import ensemble_runs, look_at
from separatrix.studies.storm2024.predictor_figures import comparison
from separatrix.studies.storm2024.predictor_results import Result, assess, measurements, ranking_note
from separatrix.studies.storm2024.predictor_scores import MEANINGS
from separatrix.studies.study import Context, MissingData, Part

DATA = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}


def run(context: Context) -> Part:
    """Compare all numbers on every data set that is there."""
    found: list[Result] = []
    missing = []
    search = Search() if not context.quick else Search(targets=1, steps=10)
    images, draws = context.pick(quick=50, paper=300), context.pick(quick=100, paper=400)
    settings = {}
    for data, name in DATA.items():
        context.say(f"predictors: {name}")
        try:
            look, one = look_at(context, data), ensemble_runs(context, data)[0]
        except MissingData as error:
            missing.append(str(error))
            continue
        found.append(assess(name, look, search, images, draws, context.seed))
        settings[name] = (
            f"{len(look.members)} members of 784-(20×16)-10 trained as for Fig. 4, {one['epochs']} epochs "
            f"of {one['images']:,} images; {len(look.X):,} test images, of which {images}, evenly spread, are attacked "
            "on each member"
        )
    if not found:
        raise MissingData("; ".join(missing))
    lost = sum(result.lost for result in found)
    tried = sum(len(result.look.members) * result.images for result in found)
    return Part(
        figures=[comparison(found)],
        measurements=[m for result in found for m in measurements(result)],
        settings={
            **settings,
            **MEANINGS,
            "margins": search.described(),
            "intervals": f"{draws} resamples of the test images, the same for all numbers and members",
        },
        notes=[
            *map(ranking_note, found),
            "Margins are distances of images that an attack found, so they are estimates from above; it found none for "
            f"{lost} of {tried:,} images. The sign of ρ is turned, so that 1 means: the larger the number, the smaller "
            "the margin.",
            *(f"Not measured: {reason}." for reason in missing),
        ],
    )
