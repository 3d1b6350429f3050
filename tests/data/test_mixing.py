"""Mixing recipes: every point is of one scan and keeps its label, and lies where the recipe says.

Each recipe is compared with a slow reference that decides point by point from its definition.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.data.mixing.plan import MixPlan
from annotator3d.data.mixing.recipe import Piece, get_recipe, join
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.errors import ConfigError
from annotator3d.registry import MIXES, fill

CAR, ROAD, POLE = 0, 8, 17  # of semantickitti19
TAXONOMY = load_taxonomy("semantickitti19")
fill(MIXES)
RECIPES = [*sorted(MIXES.module_dict), {"type": "balanced", "unlabelled": False}]


def make_scan(seed: int, points: int, known: float = 0.5, name: str = "00/000000", ring=True):
    """Points around the sensor; the intensity of each is a number of its own."""
    random = np.random.default_rng(seed)
    labels = random.choice([CAR, ROAD, POLE], points).astype(np.uint8)
    labels[random.random(points) >= known] = IGNORE
    return Scan(
        id=name,
        xyz=random.uniform((-20, -20, -2), (20, 20, 1), (points, 3)).astype(np.float32),
        intensity=(1000 * seed + np.arange(points)).astype(np.float32),
        labels=labels,
        rows=np.arange(points),
        num_raw=points,
        ring=random.integers(0, 8, points).astype(np.float32) if ring else None,
    )


def mixed(recipe, own, other, seed=0):
    recipe = get_recipe(recipe)
    recipe.prepare(TAXONOMY)
    mix = join(own, recipe.pieces(own, other, np.random.default_rng(seed)))
    return mix.scan, mix.is_other


def azimuth(scan):
    return [math.atan2(y, x) for x, y, _ in scan.xyz.astype(float)]


def elevation(scan):
    return [math.degrees(math.atan2(z, math.hypot(x, y))) for x, y, z in scan.xyz.astype(float)]


def of(scan, mix):
    """Rows of `scan` whose points are in the mix, as often as they are."""
    numbers = {value: row for row, value in enumerate(scan.intensity.tolist())}
    return Counter(numbers[value] for value in mix.intensity.tolist() if value in numbers)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(RECIPES),
    st.integers(0, 60),
    st.integers(0, 60),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 99),
)
def test_every_point_is_of_one_scan_with_its_label_ring_and_distance(recipe, n, m, known, seed):
    own, other = make_scan(1, n, known), make_scan(2, m)
    mix, is_other = mixed(recipe, own, other, seed)
    assert mix.id == own.id and mix.num_raw == len(mix) == len(is_other)
    for row, foreign in enumerate(is_other):
        scan = other if foreign else own
        [origin] = np.flatnonzero(scan.intensity == mix.intensity[row])
        assert mix.labels[row] == scan.labels[origin] and mix.ring[row] == scan.ring[origin]
        (x, y, z), (a, b, c) = mix.xyz[row].astype(float), scan.xyz[origin].astype(float)
        assert z == c and math.hypot(x, y) == pytest.approx(math.hypot(a, b), abs=1e-4)
        if not foreign:
            assert (x, y) == (a, b)
    assert max(of(own, mix).values(), default=1) == 1  # no point of its own twice


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_mix_depends_on_its_scans_and_the_random_numbers_alone(recipe):
    own, other = make_scan(1, 300, known=0.2), make_scan(2, 300)
    before = own.xyz.copy(), own.labels.copy(), other.xyz.copy(), other.labels.copy()
    found = [mixed(recipe, own, other, seed) for seed in (3, 3, 4)]
    assert np.array_equal(found[0][0].xyz, found[1][0].xyz)
    assert not np.array_equal(found[0][0].xyz, found[2][0].xyz)
    after = own.xyz, own.labels, other.xyz, other.labels
    assert all(map(np.array_equal, before, after))


def test_a_mix_has_rings_where_both_scans_have_some():
    own, other = make_scan(1, 50, ring=False), make_scan(2, 50)
    assert mixed("lasermix", own, other)[0].ring is None


def test_points_are_turned_counter_clockwise():
    own = make_scan(1, 0)
    scan = Scan("a", np.array([[2, 0, 5]], np.float32), np.ones(1), np.zeros(1), np.arange(1), 1)
    mix = join(own, [Piece(scan, np.array([0]), math.pi / 2)])
    assert mix.scan.xyz[0] == pytest.approx([0, 2, 5], abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_lasermix_takes_bands_of_elevation_by_turns(seed):
    own, other = make_scan(1, 400), make_scan(2, 400)
    mix, is_other = mixed({"type": "lasermix", "bands": [4], "pitch": [-12, 4]}, own, other, seed)

    def band(degrees):
        return min(max(math.floor((degrees + 12) / 4), 0), 3)

    sides = {(band(e), bool(o)) for e, o in zip(elevation(mix), is_other, strict=True)}
    lowest = (0, True) in sides
    assert sides == {(0, lowest), (1, not lowest), (2, lowest), (3, not lowest)}
    for scan, foreign in ((own, False), (other, True)):  # nothing of a band is missing
        wanted = [row for row, e in enumerate(elevation(scan)) if (band(e), foreign) in sides]
        assert sorted(of(scan, mix)) == wanted


def test_a_coin_says_which_scan_has_the_lowest_band_of_lasermix():
    own, other = make_scan(1, 100), make_scan(2, 100)
    lowest = [mixed("lasermix", own, other, seed) for seed in range(40)]
    firsts = Counter(bool(o[np.argmin(elevation(mix))]) for mix, o in lowest)
    assert 8 < firsts[True] < 32


def test_lasermix_measures_the_elevations_of_its_scans():
    own, other = make_scan(1, 2000), make_scan(2, 2000)
    low, high = np.percentile(elevation(own) + elevation(other), [1, 99])
    plain, _ = mixed({"type": "lasermix"}, own, other, 5)
    given, _ = mixed({"type": "lasermix", "pitch": [float(low), float(high)]}, own, other, 5)
    assert len(given) == pytest.approx(len(plain), abs=3)


@pytest.mark.parametrize("seed", range(8))
def test_polarmix_swaps_half_of_the_azimuths(seed):
    own, other = make_scan(1, 400), make_scan(2, 400)
    mix, is_other = mixed({"type": "polarmix", "swap": 1.0, "paste": 0.0}, own, other, seed)
    # Reference: the half circle starts at some angle, found from the points themselves.
    turns = sorted(azimuth(mix))
    sides = [bool(o) for _, o in sorted(zip(azimuth(mix), is_other, strict=True))]
    changes = [i for i in range(len(sides)) if sides[i] != sides[i - 1]]
    assert len(changes) == 2
    width = turns[changes[1]] - turns[changes[0]]
    assert width == pytest.approx(math.pi, abs=0.15)
    start, end = turns[changes[0]], turns[changes[1] - 1]
    inside = sides[changes[0]]
    for scan, foreign in ((own, False), (other, True)):
        within = [start <= a <= end for a in azimuth(scan)]
        sure = [abs(a - start) > 0.15 and abs(a - end) > 0.15 for a in azimuth(scan)]
        there = of(scan, mix)
        for row, (is_within, is_sure) in enumerate(zip(within, sure, strict=True)):
            near_seam = abs(abs(azimuth(scan)[row]) - math.pi) < 0.15
            if is_sure and not near_seam:
                assert (row in there) == ((is_within == inside) == foreign)


def test_polarmix_pastes_points_of_its_classes_where_they_are_and_twice_turned():
    own, other = make_scan(1, 100), make_scan(2, 200)
    recipe = {"type": "polarmix", "classes": ["pole"], "swap": 0.0}
    for seed in range(10):
        mix, is_other = mixed(recipe, own, other, seed)
        assert not is_other[:100].any() and is_other[100:].all()
        poles = np.flatnonzero(other.labels == POLE)
        assert of(other, mix) == Counter({row: 3 for row in poles.tolist()})
        first, second, third = mix.xyz[100:].reshape(3, len(poles), 3).astype(float)
        assert np.array_equal(first, other.xyz[poles])
        for copy, low in ((second, 0), (third, 2 * math.pi / 3)):
            turn = np.arctan2(copy[:, 1], copy[:, 0]) - np.arctan2(first[:, 1], first[:, 0])
            turn %= 2 * math.pi
            assert np.ptp(np.exp(1j * turn)) == pytest.approx(0, abs=1e-4)
            assert low - 1e-4 <= turn[0] <= low + 2 * math.pi / 3 + 1e-4


def test_polarmix_pastes_no_point_twice_that_the_half_circle_brought():
    own, other = make_scan(1, 100), make_scan(2, 200)
    mix, _ = mixed({"type": "polarmix", "classes": ["pole"], "swap": 1.0}, own, other)
    counts = of(other, mix)
    poles = set(np.flatnonzero(other.labels == POLE).tolist())
    assert {counts[row] for row in poles} == {3}
    assert {counts[row] for row in counts.keys() - poles} == {1}


def test_polarmix_pastes_what_moves_unless_told_and_asks_where_nothing_is_known():
    own, other = make_scan(1, 100), make_scan(2, 200)
    mix, _ = mixed({"type": "polarmix", "swap": 0.0}, own, other)
    assert set(mix.labels[100:]) == {CAR}


def test_polarmix_needs_classes_where_the_class_list_does_not_say_what_moves(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("classes:\n- {name: stone, ids: [1]}\n- {name: tree, ids: [2]}\n")
    taxonomy = load_taxonomy(path)
    with pytest.raises(ConfigError, match="training.mix.classes: the class list 'mine' does not"):
        get_recipe("polarmix").prepare(taxonomy)
    get_recipe({"type": "polarmix", "classes": ["tree"]}).prepare(taxonomy)
    get_recipe({"type": "polarmix", "paste": 0.0}).prepare(taxonomy)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("unlabelled", [True, False])
def test_balanced_adds_as_many_labelled_points_as_there_are(unlabelled, ratio):
    own, other = make_scan(1, 200, known=0.1), make_scan(2, 300)
    known = int((own.labels != IGNORE).sum())
    recipe = {"type": "balanced", "unlabelled": unlabelled, "ratio": ratio}
    drawn = []
    for seed in range(5):
        mix, is_other = mixed(recipe, own, other, seed)
        assert is_other.sum() == round(ratio * known)
        assert (mix.labels[is_other] != IGNORE).all()
        assert (~is_other).sum() == (200 if unlabelled else known)
        drawn.append(tuple(of(other, mix)))
        assert set(of(other, mix).values()) == {1}
    assert len(set(drawn)) == 5


def test_balanced_leaves_a_scan_that_nobody_has_answered_about_as_it_is():
    own, other = make_scan(1, 50, known=0), make_scan(2, 50)
    mix, is_other = mixed({"type": "balanced", "unlabelled": False}, own, other)
    assert np.array_equal(mix.xyz, own.xyz) and not is_other.any()


def test_balanced_takes_no_more_than_there_is():
    own, other = make_scan(1, 200, known=1.0), make_scan(2, 9, known=1.0)
    assert mixed("balanced", own, other)[1].sum() == 9


@pytest.mark.parametrize("seed", range(6))
def test_paste_replaces_places_by_those_around_labelled_points(seed):
    own, other = make_scan(1, 900, known=0.2), make_scan(2, 900, known=0.05)
    recipe = get_recipe({"type": "paste", "patches": 4, "radius": 3.0})
    kept, *patches = recipe.pieces(own, other, np.random.default_rng(seed))
    assert 1 <= len(patches) <= 4
    gone = set(range(900)) - set(kept.rows.tolist())
    allowed = set()
    for scan, rows, turn in patches:
        assert scan is other
        # Reference: the disc around one of its labelled points that holds exactly these.
        plan = other.xyz[:, :2].astype(float)
        centres = [
            plan[row]
            for row in rows
            if other.labels[row] != IGNORE
            and {i for i in range(900) if math.dist(plan[i], plan[row]) <= 3.0}
            == set(rows.tolist())
        ]
        assert centres
        (x, y), cos, sin = centres[0], math.cos(turn), math.sin(turn)
        middle = (cos * x - sin * y, sin * x + cos * y)
        near = [i for i in range(900) if math.dist(own.xyz[i, :2].astype(float), middle) <= 3.0]
        allowed |= {i for i in near if own.labels[i] == IGNORE}
    assert gone == allowed  # and no answer of its own is lost


def test_paste_draws_each_class_as_often_and_only_its_own():
    other = make_scan(2, 1, known=1)
    random = np.random.default_rng(0)
    labels = np.where(random.random(4000) < 0.01, POLE, ROAD).astype(np.uint8)
    other = Scan(
        "b", random.uniform(-900, 900, (4000, 3)).astype(np.float32), np.arange(4000.0), labels,
        np.arange(4000), 4000,
    )  # fmt: skip
    own = make_scan(1, 10)
    drawn = Counter()
    for seed in range(60):
        mix, is_other = mixed({"type": "paste", "patches": 1, "radius": 0.01}, own, other, seed)
        drawn.update(mix.labels[is_other].tolist())
    assert 18 < drawn[POLE] < 42 and drawn[POLE] + drawn[ROAD] == 60
    mix, is_other = mixed({"type": "paste", "classes": ["pole"], "radius": 0.01}, own, other)
    assert set(mix.labels[is_other]) == {POLE}


def test_paste_changes_nothing_where_the_other_scan_has_no_label():
    own, other = make_scan(1, 50), make_scan(2, 50, known=0)
    mix, is_other = mixed("paste", own, other)
    assert np.array_equal(mix.xyz, own.xyz) and not is_other.any()


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"type": "lasermix", "bands": [1]}, "bands: expected a number from 2 to 1000, got 1"),
        ({"type": "lasermix", "bands": []}, "bands: expected one number or more"),
        ({"type": "lasermix", "pitch": [3, -25]}, "pitch: expected two elevations"),
        ({"type": "polarmix", "swap": 1.5}, "swap: expected a number from 0 to 1, got 1.5"),
        ({"type": "paste", "radius": 0}, "radius: expected a number from 0.01 to 1000, got 0"),
        ({"type": "balanced", "ratio": -1}, "ratio: expected a number from 0"),
        ({"type": "paste", "probability": 2}, "probability: expected a number from 0 to 1"),
    ],
)
def test_values_out_of_range_are_named(recipe, words):
    with pytest.raises(ValueError, match=words):
        get_recipe(recipe)


@pytest.mark.parametrize("name", ["polarmix", "paste"])
def test_an_unknown_class_gets_the_nearest_one(name):
    with pytest.raises(ConfigError, match="training.mix.classes: no class 'poles': did you mean"):
        get_recipe({"type": name, "classes": ["poles"]}).prepare(TAXONOMY)


class Pool:
    def __init__(self, labelled):
        self._labelled = np.array(labelled)

    def labelled(self):
        return self._labelled


def test_partners_are_scans_with_answers_and_never_the_scan_itself():
    plan = MixPlan(get_recipe("lasermix"), Pool([1, 4, 6]), seed=3)
    drawn = {(i, e): plan.partner(i, e, i) for i in range(8) for e in range(40)}
    assert set(drawn.values()) == {1, 4, 6}
    assert all(partner != index for (index, _), partner in drawn.items())
    again = {(i, e): plan.partner(i, e, i) for i, e in reversed(drawn)}  # in any order
    assert drawn == again
    across = MixPlan(get_recipe("lasermix"), Pool([1, 4, 6]), seed=3, source=False)
    assert any(across.partner(4, e, 4) == 4 for e in range(40))  # scan 4 of the other domain
    assert MixPlan(get_recipe("lasermix"), Pool([2]), seed=3).partner(2, 0, 2) is None


def test_a_probability_and_a_last_epoch_limit_the_mixing():
    recipe = get_recipe({"type": "lasermix", "probability": 0.25})
    plan = MixPlan(recipe, Pool(range(10)), seed=0, source=True, until=400)
    mixed = [plan.partner(0, epoch, 0) is not None for epoch in range(500)]
    assert 70 < sum(mixed[:400]) < 130 and not any(mixed[400:])


def test_values_of_the_points_of_both_scans_follow_them():
    own, other = make_scan(1, 100), make_scan(2, 70)
    plan = MixPlan(get_recipe({"type": "paste", "patches": 3}), Pool([0]), seed=0)
    mix = plan.mix(own, other, 0, 0)
    assert mix.is_other.any() and not mix.is_other.all()
    assert np.array_equal(mix.gather(own.intensity, other.intensity), mix.scan.intensity)


def test_each_recipe_is_documented():
    page = Path(__file__).parents[2] / "docs" / "training.md"
    if not page.exists():
        pytest.skip("the page is not beside the tests")
    for name in MIXES.module_dict:
        assert f"`{name}`" in page.read_text(), name
