"""Weight dynamics: areas, corrections for many tests, verdicts, and the parts on cells from the store."""

import math
from dataclasses import replace

import numpy as np
import pytest

from separatrix.studies.ledger import Verdict, judge
from separatrix.studies.sharafi2025 import STUDY, covariant, dependence, losses, optimizers, prediction
from separatrix.studies.sharafi2025.cells import EXPONENTS, Cell, Cells, computed
from separatrix.studies.sharafi2025.claims import CLAIMS
from separatrix.studies.sharafi2025.covariant_angles import BINS, KINDS, ORDERS
from separatrix.studies.sharafi2025.dependence import between, explained, frames
from separatrix.studies.sharafi2025.score_tables import wilson
from separatrix.studies.sharafi2025.scores import holm, median_interval, one_sided, scores
from separatrix.studies.sharafi2025.settings import ALIKE, BEYOND, GRID, OPEN, base

TIMES, AT = np.arange(0, 101, 25), (50, 100)


def made(group=GRID, activation="tanh", seed=0, members=400, signal="", size=1.0, **changed):
    """A cell of random numbers, in which only what ``signal`` names knows the final loss."""
    rng = np.random.default_rng([seed, ord(activation[0])])
    final = rng.lognormal(size=members)
    z = np.log(final)

    def noisy(name, shape=()):
        noise = rng.normal(size=(members, *shape))
        known = z.reshape(-1, *(1,) * len(shape))
        return known * size + 0.5 * noise if name == signal else noise

    rates = np.sort(noisy("exponents", (1,)) * 0.02 + 0.01 * rng.normal(size=(1, 7)))[:, ::-1]
    data = {
        "final": final,
        "time": TIMES,
        "at": np.array(AT),
        "loss": np.exp(noisy("loss", (len(TIMES),))),
        "gradient_norm": np.exp(noisy("gradient", (len(TIMES),))),
        "sharpness": np.exp(noisy("sharpness", (len(TIMES),))),
        "stretch": rates[:, None] * TIMES[None, :, None],
        "singular": np.zeros(members, dtype=int),
        "late_loss": np.stack([final * 1.1, final], 1),
        "angle": np.clip(noisy("angles", (len(KINDS), len(AT))) * 0.1 + 1, 0, 1.57),
        "angle_kind": np.array(KINDS, dtype=object),
        "null_angle": rng.uniform(0, 1.5, (3, len(KINDS), 20)),
        "angle_counts": rng.uniform(1, 2, (3, BINS)),
        "angle_edge": (np.arange(BINS) + 0.5) * 90 / BINS,
        "order": np.array(ORDERS, dtype=object),
    }
    run = base(2, activation, "sin(2πx)", **{"at": AT, "members": members, "seed": seed, **changed})
    return Cell(group, run, data, 1.0)


def many(signal="", count=3, short="", **changed):
    return Cells(tuple(made(seed=i, signal=signal, **changed) for i in range(count)), short)


def verdict_of(finding):
    return judge(finding.measurements)


def test_holm_is_the_step_down_rule():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    rng = np.random.default_rng(0)
    p = rng.uniform(size=(4, 5)) ** 3
    p[1, 2] = np.nan
    found = holm(p)
    flat = p[~np.isnan(p)]
    naive = [
        min(1.0, max(np.sort(flat)[j] * (len(flat) - j) for j in range(np.searchsorted(np.sort(flat), v) + 1)))
        for v in flat
    ]
    assert found[~np.isnan(p)] == pytest.approx(naive) and np.isnan(found[1, 2])
    # never below Bonferroni's single step for the smallest, and never beyond it elsewhere
    assert (found[~np.isnan(p)] <= np.minimum(1, flat * len(flat)) + 1e-15).all()
    assert one_sided(np.array([0.0, 1.6448536, np.inf, -np.inf])) == pytest.approx([0.5, 0.05, 0, 1])


def test_a_family_of_tests_is_corrected_as_a_whole():
    among = tuple(EXPONENTS)
    found = scores(many(count=2), prediction.beside_all)
    assert found.tests(among) == 2 * 2 * 9
    new = ~found.baseline
    z = np.random.default_rng(0).normal(size=(60, 2, len(found.names)))
    noise = replace(found, auc=z, z=z, gain_z=z)
    assert (one_sided(z[..., new]) < 0.05).sum() > 20, "single tests at 5 % find many"
    assert not noise.found("z", among).any() and not noise.found("gain_z", among).any()
    # the same number is found in a small family, and not in a large one; baselines are in neither
    z = np.where(np.arange(60)[:, None, None] == 7, 3.5, -1.0) * np.ones_like(z)
    few, all_of_them = replace(found, auc=z[7:8], z=z[7:8]), replace(found, auc=z, z=z)
    assert few.found("z", among)[..., new].all() and not all_of_them.found("z", among).any()
    assert not few.found("z", among)[..., ~new].any()


def test_wilson_and_median():
    from scipy.stats import binomtest

    for hits, n in ((0, 27), (14, 27), (27, 27)):
        expected = binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-5)
    middle, low, high = median_interval(np.array([1.0, 2, 3, np.nan, 4, 5, np.inf]))
    assert middle == 3 and 1 <= low < 3 < high <= 5
    assert all(math.isnan(v) for v in median_interval(np.array([np.nan])))


def test_areas_are_of_held_out_runs():
    cell = made(signal="exponents")
    found = scores(Cells((cell,), ""), prediction.beside_all)
    held = np.ones(400, dtype=bool)
    held[np.random.default_rng(0).permutation(400)[:200]] = False
    threshold = np.median(np.sort(cell.final[~held])[[99]])
    high = cell.final > threshold
    for name in ("l1", "lmin", "late_sum"):
        values = cell.indicators(100)[name]
        up, down = values[held & high], values[held & ~high]
        naive = (np.sign(up[:, None] - down).mean() + 1) / 2
        assert float(found.of("auc", 1, name)[0]) == pytest.approx(naive), name
    # what exploring runs choose does not depend on the held-out ones
    other = {name: np.where(held.reshape(-1, *(1,) * (v.ndim - 1)), v[::-1], v) if len(v) == 400 else v
             for name, v in cell.data.items() if name != "final"}  # fmt: skip
    changed = scores(Cells((replace(cell, data=other | {"final": cell.final}),), ""), prediction.beside_all)
    assert np.array_equal(found.explore, changed.explore) and not np.array_equal(found.auc, changed.auc)
    among = tuple(EXPONENTS)
    assert found.chosen(1, among)[0] == max(
        (found.names.index(n) for n in among), key=lambda i: (found.explore[0, 1, i], -i)
    )


def test_what_is_recorded_later_changes_no_score():
    cell = made(signal="exponents")
    later = dict(cell.data)
    for name in ("loss", "gradient_norm", "sharpness", "stretch"):
        later[name] = cell.data[name].copy()
        later[name][:, TIMES > 50] = 17.0
    later["angle"] = cell.data["angle"].copy()
    later["angle"][:, :, 1] = 0.5
    for features in (prediction.beside_all, prediction.beside_loss, covariant.features):
        one, other = (scores(Cells((replace(cell, data=d),), ""), features) for d in (cell.data, later))
        for what in ("auc", "explore", "gain", "z"):
            assert np.array_equal(getattr(one, what)[:, 0], getattr(other, what)[:, 0], equal_nan=True), what
        assert not np.array_equal(one.auc[:, 1], other.auc[:, 1], equal_nan=True)


@pytest.mark.parametrize(("signal", "verdict"), [("exponents", Verdict.REPRODUCED), ("loss", Verdict.NOT_REPRODUCED)])
def test_verdicts_on_exponents(signal, verdict):
    found = many(signal)
    whole, alone = scores(found, prediction.beside_all), scores(found, prediction.beside_loss)
    assert verdict_of(prediction.separation(whole, whole, "")) is verdict
    assert verdict_of(prediction.addition(alone, whole, "")) is verdict


def test_a_weak_effect_that_is_sure_counts_in_part():
    whole = scores(many("exponents", size=0.25, members=1500), prediction.beside_all)
    finding = prediction.separation(whole, whole, "")
    assert verdict_of(finding) is Verdict.PARTLY
    assert 0.55 < finding.measurements[3].value < 0.7


def test_an_exponent_that_copies_the_loss_separates_and_adds_nothing():
    cells = []
    for cell in many("loss"):
        loss = np.log(cell.data["loss"])
        stretch = (loss[:, :, None] * 0.01 - np.arange(7) * 0.3) * np.maximum(TIMES, 1)[None, :, None]
        cells.append(replace(cell, data=cell.data | {"stretch": stretch}))
    found = Cells(tuple(cells), "")
    whole, alone = scores(found, prediction.beside_all), scores(found, prediction.beside_loss)
    assert whole.found("z", ("l1",))[..., whole.names.index("l1")].all()
    assert not alone.found("gain_z", ("l1",)).any()
    assert verdict_of(prediction.addition(alone, whole, "")) is Verdict.NOT_REPRODUCED


def test_a_fold_of_the_loss_adds_nothing_to_the_loss():
    cells = []
    for cell in many():
        u = np.random.default_rng(cell.run["seed"]).normal(size=400)
        loss, exponent = np.exp(u)[:, None] * np.ones(len(TIMES)), np.abs(u)
        stretch = (exponent[:, None, None] * 0.01 - np.arange(7) * 0.3) * TIMES[None, :, None]
        noise = np.random.default_rng((cell.run["seed"], 1)).normal(size=400)
        data = {"loss": loss, "stretch": stretch, "final": np.exp(exponent + 0.3 * noise)}
        cells.append(replace(cell, data=cell.data | data))
    found = Cells(tuple(cells), "")
    whole, alone = scores(found, prediction.beside_all), scores(found, prediction.beside_loss)
    # far above chance, and the loss as it stands is not: but the exponent is a function of the loss
    assert (alone.of("auc", 1, "l1") > 0.8).all() and (np.abs(alone.of("auc", 1, "loss") - 0.5) < 0.15).all()
    assert (alone.together > 0.8).all() and alone.found("stiff_z", tuple(EXPONENTS)).any()
    assert verdict_of(prediction.addition(alone, whole, "")) is Verdict.NOT_REPRODUCED


def test_an_area_of_one_from_few_runs_is_no_certainty():
    cell = made(members=16)
    stretch = cell.data["stretch"].copy()
    stretch[:, :, 0] = np.log(cell.final)[:, None] * np.maximum(TIMES, 1) + 100
    few = scores(Cells((replace(cell, data=cell.data | {"stretch": stretch}),), ""), prediction.beside_all)
    assert few.of("auc", 1, "l1")[0] == 1
    held = np.ones(16, dtype=bool)
    held[np.random.default_rng(0).permutation(16)[:8]] = False
    high = (cell.final > np.sort(cell.final[~held])[3])[held].sum()
    assert one_sided(few.of("z", 1, "l1"))[0] == pytest.approx(1 / math.comb(8, int(high)))


def test_losses_that_do_not_differ_are_told_apart():
    cell = made()
    same = replace(cell, data=cell.data | {"final": 1 + 1e-3 * cell.final})
    gone = replace(cell, data=cell.data | {"final": np.where(np.arange(400) < 50, np.inf, 1.0)})
    assert prediction.apart(cell) > 5 and prediction.apart(same) < 1.1 and prediction.apart(gone) == np.inf
    whole = scores(Cells((made(signal="exponents"), same, made(seed=3)), ""), prediction.beside_all)
    row = prediction.separation(whole, whole, "").measurements[1]
    assert row.n == 2 and row.value == 0.5 and row.accept is None


def test_the_least_gain_that_would_be_found():
    found = scores(many(), prediction.beside_loss)
    least = prediction.smallest(found)
    assert ((least > 0.01) & (least < 0.3)).all()
    # a gain just above it passes the first of Holm's tests, one just below does not
    place = found.early(500)[-1]
    which = found.chosen(place, tuple(EXPONENTS))[0]
    for factor, passes in ((1.01, True), (0.99, False)):
        z = np.where(np.isnan(found.gain_z), np.nan, -1.0)
        width = (found.gain_high - found.gain_low)[0, place, which] / (2 * 1.959963984540054)
        z[0, place, which] = factor * least[0] / width
        assert replace(found, gain_z=z).found("gain_z", tuple(EXPONENTS)).any() == passes


@pytest.mark.parametrize(("signal", "verdict"), [("angles", Verdict.REPRODUCED), ("", Verdict.NOT_REPRODUCED)])
def test_verdicts_on_angles(signal, verdict):
    assert verdict_of(covariant.verdict(scores(many(signal), covariant.features), "")) is verdict


def test_verdicts_rest_on_smooth_cells_of_the_grid():
    control = [made(activation="relu", seed=i, signal="exponents") for i in range(4)]
    changed = [made(OPEN, seed=i, signal="exponents", rate=0.4) for i in range(4)]
    silent = list(many(count=2))
    found = Cells((*silent, *control, *changed), "")
    whole = scores(found, prediction.beside_all)
    finding = prediction.separation(whole, whole, "")
    values = {m.what: m.value for m in finding.measurements}
    assert verdict_of(finding) is Verdict.NOT_REPRODUCED
    assert values["cells with ReLU with one above chance"] == 1
    assert values["cells with one setting changed with one above chance"] == 1
    # without a verdict where the scale is too small
    assert prediction.separation(whole, whole, "too few").not_measured == "too few"


def test_cells_without_labels_or_steps_are_left_out_by_name():
    same = made(seed=1)
    same = replace(same, data=same.data | {"final": np.ones(400)})
    early = made(seed=2)
    early = replace(early, data=early.data | {"at": np.array([50])})
    found = scores(Cells((made(), same, early), ""), prediction.beside_all)
    assert np.isnan(found.auc[1]).all() and np.isnan(found.auc[2, 1]).all() and np.isfinite(found.auc[2, 0]).all()
    assert set(found.left_out) == {(same.name, 50), (same.name, 100), (early.name, 100)}
    assert any("Left out" in note for note in prediction.notes(found, found))
    # nor is a cell dropped in silence in which chance put all high runs on one side
    exploring, final = np.random.default_rng(0).permutation(400)[:200], np.linspace(1, 1.01, 400)
    final[exploring] *= np.where(np.arange(200) < 60, 2.0, 1.5)
    one_sided_cell = replace(made(), data=made().data | {"final": final})
    found = scores(Cells((made(seed=1), one_sided_cell), ""), prediction.beside_all, high=0.3)
    assert "one label" in found.left_out[one_sided_cell.name, 50] and np.isnan(found.auc[1]).all()


def test_runs_that_diverged_count_as_high():
    cell = made(signal="exponents")
    gone = np.argsort(cell.final)[-40:]
    final, stretch = cell.final.copy(), cell.data["stretch"].copy()
    final[gone], stretch[gone] = np.inf, np.inf
    lost = replace(cell, data=cell.data | {"final": final, "stretch": stretch})
    assert np.isinf(lost.indicators(100)["lmin"][gone]).all()
    found = scores(Cells((lost,), ""), prediction.beside_all)
    assert found.of("auc", 1, "l1")[0] > 0.8
    assert losses.row(lost, 0.0)[2] == "40" and losses.row(lost, 0.0)[6] == "∞"


def test_exponents_of_windows():
    cell = made()
    stretch = cell.data["stretch"].copy()
    stretch[0, -1] = stretch[0, 2] + np.array([1.0, 7, 3, 4, 5, 6, 2])
    cell = replace(cell, data=cell.data | {"stretch": stretch})
    assert cell.exponents(100, 50)[0] == pytest.approx(np.arange(7, 0, -1) / 50)
    late = cell.indicators(100)
    assert late["late_l1"][0] == pytest.approx(7 / 50) and late["late_sum"][0] == pytest.approx(28 / 50)
    assert late["sum"] == pytest.approx(stretch[:, -1].sum(1) / 100) and set(late) == set(EXPONENTS)


def test_shares_of_variance():
    groups = [np.array([0.0, 2.0]), np.array([4.0, 6.0])]
    assert between(groups) == pytest.approx(16 / 20)
    cells = []
    for i, activation in enumerate(("tanh", "sigmoid", "softplus")):
        cell = made(activation=activation, rate=0.1, scale=1.0)
        cells.append(replace(cell, data=cell.data | {"stretch": cell.data["stretch"] + 20.0 * i * TIMES[:, None]}))
    other = made(activation="sigmoid")
    (row,) = explained(Cells((*cells, other), ""), "l1")
    assert row[0] > 0.99 and row[1] < 0.02, "one group: the other cell has another rate"
    assert not len(explained(Cells((cells[0], other), ""), "l1"))


def test_spread_over_first_frames():
    rng = np.random.default_rng(3)
    members, count = 4000, 4
    each = 3 * rng.normal(size=(members, 1, 1)) + rng.normal(size=(members, 1 + count, 1)) - 50 * np.arange(7)
    stretch = np.zeros((members, len(TIMES), 7))
    stretch[:, -1] = each[:, 0]
    cell = made(members=members)
    cell = replace(cell, data=cell.data | {"stretch": stretch, "frame_stretch": each[:, 1:, None]})
    assert frames(cell, "l1") == pytest.approx(3, rel=0.05) and frames(cell, "lmin") == pytest.approx(3, rel=0.05)


def test_sarle():
    rng = np.random.default_rng(0)
    assert losses.sarle(rng.uniform(size=100_000)) == pytest.approx(5 / 9, abs=0.01)
    assert losses.sarle(rng.normal(size=100_000)) == pytest.approx(1 / 3, abs=0.01)
    assert losses.sarle(np.array([0.0, 1] * 500)) > 0.95
    assert math.isnan(losses.sarle(np.ones(10)))


SMALL = {"members": 40, "steps": 40, "tangent_steps": 20, "record": 5, "at": (10, 20), "null_members": 4}
RUNS = [
    (GRID, base(2, "tanh", "sin(2πx)", **SMALL, frames=1, singular_until=10)),
    (ALIKE, base(2, "softplus", "sin(2πx)", **SMALL)),
    (ALIKE, base(2, "tanh", "sin(2πx)", **SMALL, rate=0.1)),
]
OTHER = [(BEYOND, base(2, "tanh", "sin(2πx)", **SMALL, optimizer="heavy ball", angles=False))]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def found(store):
    return Cells(computed(RUNS[:2], store), "too few")


def test_only_missing_cells_are_computed(store, found):
    files = {path: path.stat().st_mtime_ns for path in (store / "runs").glob("*.nc")}
    assert len(files) == len(found) == 2
    lost = min(files, key=lambda path: path.stat().st_size)
    lost.unlink()
    again = computed(RUNS, store)
    assert len(again) == 3 and lost.exists() and len(list((store / "runs").glob("*.nc"))) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in files.items() if path != lost)
    for one, other in zip(found, again, strict=False):
        assert one.name == other.name and one.run == other.run
        for name, values in one.data.items():
            if values.dtype.kind == "f":
                assert np.array_equal(values, other.data[name], equal_nan=True), (one.name, name)


def test_every_part_gives_what_it_owes(store):
    found, beyond = Cells(computed(RUNS, store), "too few"), Cells(computed(OTHER, store), "too few")
    modules = {"losses": losses, "dependence": dependence, "prediction": prediction, "covariant": covariant}
    parts = {name: module.part(found) for name, module in modules.items()} | {"optimizers": optimizers.part(beyond)}
    names = []
    for name, part in parts.items():
        assert sorted(f.claim for f in part.findings) == sorted(c.id for c in CLAIMS if name in c.parts)
        assert all(f.not_measured for f in part.findings) and part.tables and part.figures
        names += [str(figure.picture).split(' id="')[1].split('"')[0] for figure in part.figures]
    assert len(set(names)) == len(names)
    assert {piece.name for piece in STUDY.parts} == {"formulas", *parts}
    # heavy ball: the sum of all exponents is P ln beta at every step
    (row,) = parts["optimizers"].measurements
    assert row.n == 40 and row.value < 1e-9
    assert parts["losses"].settings["members"] == 40 and parts["losses"].settings["rate"] == "by cell"
    assert math.isfinite(frames(found.cells[0], "l1")) and len(parts["dependence"].tables[1].rows) == 1


def test_singular_values_bound_partial_sums(found):
    cell = found.cells[0]
    exact = cell.data["singular_stretch"][:, 0]
    own = cell.exponents(10) * 10
    assert (np.cumsum(own, 1) <= np.cumsum(exact, 1) + 1e-6).all()
    assert own.sum(1) == pytest.approx(exact.sum(1), abs=1e-6)
