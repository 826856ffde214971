"""From losses to answers: laws, crossovers between recipes, optima; for a study here and for anybody's runs.

    from stages.fit import Candidates, advise, compare, fit, optimum

    fit("chinchilla", {"N": n, "D": d}, loss, objective="huber_log", bootstrap=4000).params["a"].ci
    compare(flops, loss, recipe, pair=seed).pairs[0].verdict
    optimum(lr, loss, {"N": n, "D": d}).law
    advise({"N": n, "D": d}, loss, Candidates({"N": cn, "D": cd}, cost), [{"N": 7e9, "D": 2e12}], 1e21).steps

The same on a file: `crossover fit|compare|optimum|advise FILE`. On a study: `python -m stages.fit STUDY SCALE`.
"""

from stages.fit.advise import Advice, advise
from stages.fit.choices import Candidates
from stages.fit.comparing import Settings, compare
from stages.fit.comparison import Comparison, Comparisons
from stages.fit.estimates import Estimate
from stages.fit.fitting import fit
from stages.fit.laws import LAWS, Law
from stages.fit.objectives import NAMES as OBJECTIVES
from stages.fit.optimum import Optima, optimum
from stages.fit.result import Fit

__all__ = [
    "LAWS", "OBJECTIVES", "Advice", "Candidates", "Comparison", "Comparisons", "Estimate", "Fit", "Law", "Optima",
    "Settings", "advise", "compare", "fit", "optimum",
]  # fmt: skip
