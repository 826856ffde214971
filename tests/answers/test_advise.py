"""Advice against closed forms, brute force and planted truths."""

import numpy as np
import pytest
from scipy import stats

from crossover.answers.advising.advise import advise, knowledge_gradient
from crossover.answers.advising.choices import Candidates
from crossover.answers.advising.sequence import Cells, plan
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.belief.posterior import Noise, Rows, believe
from crossover.laws.law import Law, Term
from crossover.laws.laws import LAWS


class Straight(Law):
    """E + A x^-0.3: linear in all that is unknown."""

    name = "straight"
    formula = "E + A x^-0.3"
    source = "none"
    inputs = ("x",)
    coefficients = ("E", "A")
    shape = ()

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        return [Term(), Term(-0.3 * np.broadcast_to(log_x[0], (len(eta_Bxq), log_x.shape[1])))]


def rows_of(x: np.ndarray) -> Rows:
    none = np.full(len(x), -1)
    return Rows(np.log(x)[None], np.zeros(len(x), int), none)


def test_for_a_linear_law_the_expected_reduction_is_bayesian_linear_regressions() -> None:
    """Normal equations by hand, with the model's prior; the variance after two cells depends on no loss of theirs."""
    x, extra, target = np.array([1e3, 3e3, 1e4, 4e4]), np.array([2e5, 1e6]), np.array([1e8])
    loss = np.array([4.1, 3.6, 3.3, 2.9])
    belief = believe(Straight(), rows_of(x), loss, 1, noise=Noise(0.01))
    places = np.log(np.concatenate([extra, target]))[None]
    mean, cov = belief.at(places, np.zeros(3, int))
    noise = (0.01 * mean[:2]) ** 2
    none = np.full(2, -1)
    steps = plan(cov, np.array([[0.0], [0], [1]]), Cells(np.arange(2), noise, np.ones(2), none, none), 2.0, removal, 9)

    centre, level = np.log(x).mean(), np.exp(np.log(loss).mean())
    assert belief.model.prior()[0] == pytest.approx([level / 2] * 2)

    def basis(at: np.ndarray) -> np.ndarray:
        return np.stack([np.ones_like(at), np.exp(-0.3 * (np.log(at) - centre))], 1)

    prior = np.eye(2) / level**2  # a standard deviation of one loss for each coefficient
    before = prior + basis(x).T @ basis(x) / (0.01 * level) ** 2
    after = before + basis(extra).T @ (basis(extra) / noise[:, None])
    goal = basis(target)[0]
    assert cov[2, 2] == pytest.approx(goal @ np.linalg.solve(before, goal), rel=1e-6)
    assert steps[-1].variance == pytest.approx(goal @ np.linalg.solve(after, goal), rel=1e-6)
    right = basis(x).T @ loss / (0.01 * level) ** 2 + prior @ np.full(2, level / 2)
    assert mean[2] == pytest.approx(goal @ np.linalg.solve(before, right), rel=1e-6)


def test_two_recipes_with_pairs_and_a_discrepancy_are_a_gaussian_process() -> None:
    """Brute force over the joint covariance of runs and targets, four kinds of discrepancy mixed by their evidence."""
    x, recipe = np.array([1e3, 3e3, 1e4, 1e3, 3e3, 2e4]), np.array([0, 0, 0, 1, 1, 1])
    loss, partner = np.array([4.1, 3.7, 3.2, 4.0, 3.5, 3.0]), np.array([-1, -1, -1, 0, 1, -1])
    sd, shared, discrepancy = 0.01, 0.6, 0.03
    law = Straight()
    rows = Rows(np.log(x)[None], recipe, partner)
    belief = believe(law, rows, loss, 2, noise=Noise(sd, shared, discrepancy))
    goal, which = np.array([1e5, 1e5, 3e3]), np.array([0, 1, 0])
    mean, cov = belief.at(np.log(goal)[None], which)

    centre, level = np.log(x).mean(), np.exp(np.log(loss).mean())
    at, of = np.log(np.concatenate([x, goal])), np.concatenate([recipe, which])
    phi = np.stack([np.ones_like(at), np.exp(-0.3 * (at - centre))], 1)
    phi = np.concatenate([phi, np.where(of == 1, 0.5, -0.5)[:, None] * phi], 1)  # means and differences
    prior, spread = level * np.array([0.5, 0.5, 0, 0]), level * np.array([1, 1, 0.03, 0.2])
    scatter = np.diag((sd * level) ** 2 * np.array([1.0] * 6 + [0.0] * 3))
    for late, early in ((3, 0), (4, 1)):
        scatter[late, early] = scatter[early, late] = shared * (sd * level) ** 2
    away = np.abs(at[:, None] - at) / (1.5 * np.log(10))
    found = []
    for rough, apart in ((0.03, 0.02), (0.03, 0.5), (1.0, 0.02), (1.0, 0.5)):
        process = (1 - rough) * np.exp(-0.5 * away**2) + rough * np.exp(-away)
        process *= np.where(of[:, None] == of, 1.0, 1 - apart)
        whole = (phi * spread**2) @ phi.T + (discrepancy * level) ** 2 * process + scatter
        gain = np.linalg.solve(whole[:6, :6], whole[:6, 6:]).T
        evidence = stats.multivariate_normal(phi[:6] @ prior, whole[:6, :6]).pdf(loss)
        found.append(
            (evidence, phi[6:] @ prior + gain @ (loss - phi[:6] @ prior), whole[6:, 6:] - gain @ whole[:6, 6:])
        )
    weight = np.array([evidence for evidence, _, _ in found]) / sum(evidence for evidence, _, _ in found)
    expected = sum(w * value for w, (_, value, _) in zip(weight, found, strict=True))
    within = sum(w * spread for w, (_, _, spread) in zip(weight, found, strict=True))
    apart = sum(
        w * np.outer(value - expected, value - expected) for w, (_, value, _) in zip(weight, found, strict=True)
    )
    assert weight.min() > 0.03  # all count, so that any one missing is seen
    assert mean == pytest.approx(expected, rel=1e-4)
    assert cov == pytest.approx(within + apart, rel=1e-3)


@pytest.mark.parametrize("factor", [1.15, 0.5])
def test_a_run_that_went_astray_moves_little_and_hides_little(factor: float) -> None:
    """One loss of twelve is far off: Gaussian noise makes the doubt at the target five times as large."""
    x = np.geomspace(1e15, 1e19, 12)
    goal, first = np.log([[1e20]]), np.zeros(1, int)

    def answer(loss: np.ndarray) -> tuple[float, float]:
        mean, cov = believe(LAWS["power_floor"], rows_of(x), loss, 1).at(goal, first)
        return float(mean[0]), float(np.sqrt(cov[0, 0]))

    growth = []
    for seed in range(5):
        loss = single(x, seed)
        sound, sd = answer(loss)
        astray, wider = answer(loss * np.where(np.arange(12) == 7, factor, 1.0))
        assert abs(astray - sound) < sd
        growth.append(wider / sd)
    assert np.median(growth) < 3


def removal(removed: np.ndarray) -> np.ndarray:
    return removed


@pytest.mark.parametrize("lean", [0.0, 0.6])
def test_a_sequence_with_pairs_is_gaussian_conditioning(lean: float) -> None:
    """Cells 0 and 1 are a pair, the partner of 2 (quantity 4) has been run; brute force over the joint covariance."""
    generator = np.random.default_rng(0)
    root = generator.normal(size=(6, 6))
    latent, noise = root @ root.T, 0.7
    ran = latent[:, 4] / np.sqrt(latent[4, 4] + noise)
    told = latent - np.outer(ran, ran)  # after the run of quantity 4
    seen = np.zeros((4, 6))  # what cells 0, 1, 2 and the run measure
    seen[[0, 1, 2, 3], [0, 1, 2, 4]] = 1
    spread = noise * np.eye(4)
    for i, j in ((0, 1), (2, 3)):
        spread[i, j] = spread[j, i] = lean * noise
    joint = seen @ latent @ seen.T + spread
    expected = latent[5, 5] - (seen @ latent[:, 5]) @ np.linalg.solve(joint, seen @ latent[:, 5])
    cells = Cells(
        np.arange(3), np.full(3, noise), np.ones(3), np.array([1, 0, -1]), np.array([-1, -1, 4 if lean else -1]), lean
    )
    answer = np.zeros((6, 1))
    answer[5] = 1
    steps = plan(told, answer, cells, 3.0, removal, 9)
    assert sorted(cell for step in steps for cell in step.cells) == [0, 1, 2]
    assert steps[-1].variance == pytest.approx(expected)


@pytest.mark.parametrize(("mean", "move"), [(0.0, 0.02), (0.03, 0.02), (-0.03, 0.05)])
def test_the_knowledge_gradient_is_what_choosing_later_saves(mean: float, move: float) -> None:
    """Monte Carlo over the estimate after the result: B is chosen where it is below zero."""
    later = np.random.default_rng(0).normal(mean, move, 400_000)
    saved = min(mean, 0.0) - np.minimum(later, 0.0).mean()
    assert float(knowledge_gradient(mean, np.array([move]))[0]) == pytest.approx(saved, abs=4 * move / 600)


def ladder(seed: int = 0, lean: float = 0.02, noise: float = 0.005) -> dict[str, np.ndarray]:
    """Two recipes on four sizes and two seeds, B steeper by `lean` from the second size on."""
    generator = np.random.default_rng(seed)
    x = np.tile(np.repeat(np.geomspace(1e15, 1e18, 4), 2), 2)
    recipe = np.repeat(["A", "B"], 8)
    pair = np.tile([0, 1], 8)
    common = np.tile(generator.normal(0, 0.02, 8), 2)
    exponent = np.where(recipe == "B", 0.08 + lean, 0.08)
    loss = 1.2 + 2.0 * (x / 1e16) ** -exponent + common + generator.normal(0, noise, 16)
    return {"x": x, "loss": loss, "recipe": recipe, "pair": pair}


def advice_on(table: dict[str, np.ndarray], known: np.ndarray, budget: float = 5e18, unit: float = 1.0, **more: object):
    rest = ~known
    return advise(
        {"x": table["x"][known]}, table["loss"][known],
        Candidates({"x": table["x"][rest]}, table["x"][rest] * unit, table["recipe"][rest], table["pair"][rest]),
        [{"x": 1e20}], budget * unit, law="power_floor", recipe=table["recipe"][known], pair=table["pair"][known],
        **more,
    )  # fmt: skip


def test_the_order_of_recipes_changes_nothing_but_the_sign() -> None:
    table = ladder()
    first = advice_on(table, table["x"] < 5e16)
    turned = {name: np.concatenate([column[8:], column[:8]]) for name, column in table.items()}
    second = advice_on(turned, turned["x"] < 5e16)
    assert (first.recipes, second.recipes) == (["A", "B"], ["B", "A"])
    assert second.now.value == pytest.approx(-first.now.value, rel=1e-6)
    assert second.now.b_wins == pytest.approx(1 - first.now.b_wins)
    assert {tuple(step.cells) for step in second.steps} == {tuple(step.cells) for step in first.steps}
    assert second.now.sd == pytest.approx(first.now.sd, rel=1e-6)
    assert [step.sd for step in second.steps] == pytest.approx([step.sd for step in first.steps], rel=1e-6)


def test_the_unit_of_cost_and_of_loss_does_not_matter() -> None:
    table = ladder()
    known = table["x"] < 5e16
    first, second = advice_on(table, known), advice_on(table, known, unit=1e-18)
    assert [step.cells for step in second.steps] == [step.cells for step in first.steps]
    assert second.steps[-1].cumulative_cost == pytest.approx(first.steps[-1].cumulative_cost * 1e-18)
    bits = advice_on({**table, "loss": table["loss"] / np.log(2)}, known)
    assert [step.cells for step in bits.steps] == [step.cells for step in first.steps]
    assert bits.now.sd == pytest.approx(first.now.sd / np.log(2), rel=1e-6)


def single(x: np.ndarray, seed: int, noise: float = 0.005) -> np.ndarray:
    return (1.5 + 1.5 * (x / 1e17) ** -0.15) * np.exp(np.random.default_rng(seed).normal(0, noise, len(x)))


def test_a_dominated_candidate_is_never_chosen_before_the_one_that_dominates_it() -> None:
    """The same cell at three times the cost: never alone, and never earlier."""
    x = np.geomspace(1e15, 1e17, 5)
    cells = np.repeat(np.geomspace(3e17, 1e19, 4), 2)
    cost = cells * np.tile([3.0, 1.0], 4)
    for budget in np.geomspace(3e17, 1e20, 12):
        steps = advise(
            {"x": x}, single(x, 0), Candidates({"x": cells}, cost), [{"x": 1e21}], budget, law="power_floor"
        ).steps
        order = [step.cells[0] for step in steps]
        for dear in range(0, 8, 2):
            if dear in order:
                assert order.index(dear + 1) < order.index(dear)
        assert steps[-1].cumulative_cost <= budget * (1 + 1e-9) if steps else budget < cells.min()


def test_the_answers_standard_deviation_is_honest() -> None:
    """Over 60 draws of known truth the 90% normal interval at the target, half a decade on, holds it in most."""
    x = np.geomspace(1e15, 3e18, 12)
    truth, inside = 1.5 + 1.5 * (1e19 / 1e17) ** -0.15, 0
    for seed in range(60):
        now = advise({"x": x}, single(x, seed), Candidates({"x": x}, x), [{"x": 1e19}], 1e20, law="power_floor").now
        inside += abs(now.value - truth) < 1.645 * now.sd
    low, _ = stats.binom.ppf([0.001, 0.999], 60, 0.9)
    assert inside >= low
    assert now.sd < 0.1


def test_the_standard_deviation_is_honest_where_the_law_is_wrong() -> None:
    """The truth has a wave of 2% that no power law has, and noise Student's tails; 40 draws of runs and wave."""
    x = np.geomspace(1e15, 3e18, 12)
    target, inside, sds = 3e19, 0, []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        phase, period = generator.uniform(0, 2 * np.pi), generator.uniform(1.5, 4)

        def truth(at: np.ndarray) -> np.ndarray:
            wave = 0.02 * np.sin(2 * np.pi * np.log10(at) / period + phase)  # noqa: B023
            return (1.5 + 1.5 * (at / 1e17) ** -0.15) * (1 + wave)

        loss = truth(x) * (1 + 0.003 * generator.standard_t(3, len(x)))
        now = advise({"x": x}, loss, Candidates({"x": x}, x), [{"x": target}], 1e20, law="power_floor").now
        inside += abs(now.value - float(truth(np.array([target]))[0])) < 1.645 * now.sd
        sds.append(now.sd)
    assert inside >= stats.binom.ppf(0.001, 40, 0.9)
    assert np.median(sds) < 0.3  # and it says something


def test_runs_over_many_decades_are_read_to_the_precision_they_have() -> None:
    """x^-eta then differs by more than floating point holds; the truth is 1.877."""
    x = np.repeat(np.geomspace(1e14, 1e22, 8), 2)
    truth = float((1.5 + 1.5 * (np.array([1e23]) / 1e17) ** -0.1)[0])
    for seed in range(5):
        loss = (1.5 + 1.5 * (x / 1e17) ** -0.1) * np.exp(np.random.default_rng(seed).normal(0, 0.005, len(x)))
        now = advise({"x": x}, loss, Candidates({"x": x}, x), [{"x": 1e23}], 1e24, law="power_floor").now
        assert abs(now.value - truth) < 3 * now.sd
        assert 0.005 < now.sd < 0.1


@pytest.mark.parametrize("decades", [4, 8, 10])
def test_two_recipes_over_many_decades(decades: float) -> None:
    """Exponents .1 and .12: the difference a decade on is known, and is found within its doubt."""
    x = np.tile(np.repeat(np.geomspace(1e14, 1e14 * 10.0**decades, 6), 3), 2)
    exponent, target = np.repeat([0.1, 0.12], 18), 1e15 * 10.0**decades
    generator = np.random.default_rng(0)
    noise = np.tile(generator.normal(0, 0.01, 18), 2) + generator.normal(0, 0.003, 36)
    loss = (1.5 + 1.5 * (x / 1e17) ** -exponent) * np.exp(noise)
    recipe, pair = np.repeat(["A", "B"], 18), np.tile([0, 1, 2], 12)
    last = Candidates({"x": x[[17, 35]]}, np.ones(2), ["A", "B"], [9, 9])
    now = advise({"x": x}, loss, last, [{"x": target}], 2.0, law="power_floor", recipe=recipe, pair=pair).now
    truth = 1.5 * (target / 1e17) ** -0.12 - 1.5 * (target / 1e17) ** -0.1
    assert abs(now.value - truth) < 3 * now.sd
    assert 0.001 < now.sd < 0.1


@pytest.mark.parametrize("law", ["power", "power_floor"])
@pytest.mark.parametrize("noise", [None, 1e-12])
def test_equal_recipes_without_noise_are_not_told_apart(law: str, noise: float | None) -> None:
    x = np.tile(np.geomspace(1e15, 1e18, 6), 2)
    told = advise(
        {"x": x}, 3.0 * (x / 1e15) ** -0.08, Candidates({"x": np.full(2, 1e19)}, np.full(2, 1e19), ["A", "B"], [1, 1]),
        [{"x": 1e20}], 1e20, law=law, recipe=["A"] * 6 + ["B"] * 6, pair=[0] * 12, noise=noise,
    )  # fmt: skip
    assert told.now.b_wins == pytest.approx(0.5, abs=0.05)
    assert np.isfinite(told.now.sd)
    assert told.noise_sd > 0


def test_of_two_recipes_the_difference_need_not_follow_the_law() -> None:
    """B has a wave of 1% that A has not; the 90% interval of their difference a decade on, over 30 draws."""
    x, pair = np.tile(np.repeat(np.geomspace(1e15, 3e17, 6), 3), 2), np.tile([0, 1, 2], 12)
    recipe, target, inside = np.repeat(["A", "B"], 18), 3e18, 0
    for seed in range(30):
        generator = np.random.default_rng(seed)
        phase, period = generator.uniform(0, 2 * np.pi), generator.uniform(1.5, 4)
        wave = np.where(recipe == "B", 1 + 0.01 * np.sin(2 * np.pi * np.log10(x) / period + phase), 1.0)
        noise = np.tile(generator.normal(0, 0.01, 18), 2) + generator.normal(0, 0.003, 36)
        loss = (1.5 + 1.5 * (x / 1e17) ** -0.1) * wave * np.exp(noise)
        last = Candidates({"x": x[[17, 35]]}, x[[17, 35]], ["A", "B"], [0, 0])
        now = advise({"x": x}, loss, last, [{"x": target}], 1e19, law="power_floor", recipe=recipe, pair=pair).now
        truth = (1.5 + 1.5 * (target / 1e17) ** -0.1) * 0.01 * np.sin(2 * np.pi * np.log10(target) / period + phase)
        inside += abs(now.value - truth) < 1.645 * now.sd
    assert inside >= stats.binom.ppf(0.001, 30, 0.9)


def test_an_answer_that_hardly_moves_says_stop() -> None:
    """40 runs around the target and one more to buy, or the same and one far nearer than any."""
    x = np.repeat(np.geomspace(1e17, 1e19, 8), 5)
    loss, target = single(x, 0, noise=0.02), [{"x": 1e18}]
    settled = advise({"x": x}, loss, Candidates({"x": x[:1]}, x[:1]), target, 1e18, law="power_floor")
    assert (settled.stop, settled.enough) == (True, 0)
    assert "less than a third of one run's noise" in settled.why
    small = np.repeat(np.geomspace(1e13, 1e14, 4), 2)
    near = Candidates({"x": np.array([1e18])}, np.array([1e18]))
    unsettled = advise({"x": small}, single(small, 0, noise=0.02), near, target, 1e18, law="power_floor")
    assert (unsettled.stop, unsettled.enough) == (False, 1)


def test_a_settled_decision_says_stop_and_an_open_one_does_not() -> None:
    clear = ladder(lean=0.0)
    clear["loss"] = np.where(clear["recipe"] == "B", clear["loss"] + 0.3, clear["loss"])
    settled = advice_on(clear, clear["x"] < 5e17)
    assert settled.stop
    assert settled.enough == 0
    assert settled.now.b_wins < 0.05
    assert "A wins" in settled.why
    even = ladder(lean=0.0)
    undecided = advice_on(even, even["x"] < 5e16)
    assert not undecided.stop
    assert 0 < undecided.enough <= len(undecided.steps)
    assert undecided.flips > 0.05
    regrets = [undecided.now.regret, *(step.regret for step in undecided.steps)]
    assert regrets == sorted(regrets, reverse=True)
    poor = advice_on(even, even["x"] < 5e16, budget=1e10)
    assert (poor.stop, poor.steps) == (True, [])
    assert "within the budget" in poor.why


def test_a_cell_that_repeats_a_known_answer_is_worth_less_than_one_nearer_the_target() -> None:
    x = np.repeat(np.geomspace(1e15, 1e16, 4), 4)
    steps = advise(
        {"x": x}, single(x, 0), Candidates({"x": np.array([1e16, 1e18])}, np.ones(2)), [{"x": 1e19}], 1.0,
        law="power_floor",
    ).steps  # fmt: skip
    assert [step.cells for step in steps] == [[1]]


X = {"x": np.array([1e15, 1e16, 1e17])}
LOSS = np.array([3.0, 2.8, 2.6])
CELLS = Candidates({"x": np.array([1e18])}, np.array([1.0]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"law": "m4"}, "no advice by law 'm4'; use one of power"),
        ({"law": "powr"}, "did you mean 'power'"),
        ({"budget": 0.0}, "the budget must be positive"),
        ({"noise": -1.0}, "the noise must be positive"),
        ({"sure": 1.0}, "sure must be over 0.5"),
        ({"targets": []}, "name a target"),
        ({"targets": [{"x": -1.0}]}, "the target needs a positive x"),
        ({"recipe": ["a", "b", "c"]}, "one recipe or two; found a, b, c"),
        ({"recipe": ["a", "a", "b"]}, r"1 finished run\(s\) of b"),
        ({"inputs": {"x": np.full(3001, 1e15)}, "loss": np.full(3001, 3.0)}, "3001 finished runs; advice is made from"),
        ({"loss": np.array([3.0, np.nan, np.nan])}, r"1 finished run\(s\)"),
        ({"loss": np.array([3.0, -2.8, 2.6])}, "loss has 1 value"),
        ({"candidates": Candidates({"x": np.array([])}, np.array([]))}, "there is no candidate"),
        ({"candidates": Candidates({"x": np.array([1e18])}, np.array([0.0]))}, "candidates' cost has 1 value"),
        ({"candidates": Candidates({"x": np.array([1e18])}, np.array([np.nan]))}, "missing or infinite input or cost"),
    ],
)
def test_mistakes_name_the_remedy(change: dict[str, object], said: str) -> None:
    given = {"inputs": X, "loss": LOSS, "candidates": CELLS, "targets": [{"x": 1e20}], "budget": 1.0, **change}
    with pytest.raises(UsageError, match=said):
        advise(**{"law": "power_floor", **given})
