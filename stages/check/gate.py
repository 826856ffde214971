"""Running a suite of rules over a table, and the verdict it leaves.

Great Expectations treats NaN as null and skips nulls in value rules, and +inf passes a lower bound; so every bound
here comes with a rule that no value is null and another side that is finite. A rule that could not be computed counts
as failed.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crossover.base.errors import GateError
from crossover.base.files import write_json

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

_SHOWN = 5  # offenders named per rule


@dataclass(frozen=True)
class Rule:
    """An expectation, in words, and whether breaking it stops the pipeline."""

    says: str
    expectation: "Expectation"
    stops: bool = True


@dataclass(frozen=True)
class Finding:
    """How one rule came out; `offenders` names rows by their key."""

    rule: str
    passed: bool
    stops: bool
    offenders: list[str]


def run_gate(table: pd.DataFrame, key: str, rules: list[Rule]) -> list[Finding]:
    """Check every rule. `key` is the column that names a row in the verdict."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("tables").add_dataframe_asset("table")
    batches = asset.add_batch_definition_whole_dataframe("whole")
    suite = context.suites.add(gx.ExpectationSuite("gate", expectations=[rule.expectation for rule in rules]))
    definition = gx.ValidationDefinition(name="gate", data=batches, suite=suite)
    context.validation_definitions.add(definition)
    outcome = definition.run(
        batch_parameters={"dataframe": table},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
    )
    by_id = {result.expectation_config.id: result for result in outcome.results}
    return [
        _finding(rule, by_id[expectation.id], key) for rule, expectation in zip(rules, suite.expectations, strict=True)
    ]


def _great_expectations() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    return gx


def _finding(rule: Rule, result: Any, key: str) -> Finding:
    rows = result.result.get("unexpected_index_list") or []
    names = [str(row[key]) for row in rows if key in row]
    return Finding(rule.says, bool(result.success), rule.stops, sorted(set(names)))


def conclude(findings: list[Finding], path: Path, subject: str) -> None:
    """Write the verdict beside the table, then raise `GateError` where a stopping rule failed."""
    failed = [finding for finding in findings if not finding.passed]
    stopping = [finding for finding in failed if finding.stops]
    write_json(path, {"passed": not stopping, "rules": [asdict(finding) for finding in findings]})
    for finding in failed:
        if not finding.stops:
            print(f"warning: {subject}: {_describe(finding)}")
    if stopping:
        raise GateError(f"gate on {subject} failed: {'; '.join(map(_describe, stopping))} (verdict: {path})")
    print(f"{subject}: {len(findings) - len(failed)} of {len(findings)} rules hold")


def _describe(finding: Finding) -> str:
    names = ", ".join(finding.offenders[:_SHOWN])
    more = f" and {len(finding.offenders) - _SHOWN} more" if len(finding.offenders) > _SHOWN else ""
    return f"{finding.rule} [{names}{more}]" if names else finding.rule
