"""When a forecast was lodged, as far as git shows it, and whether what came could have been known by then.

A date inside the ledger is what a clock said. What counts is the commit that first holds the line: its date, and its
place in the history before whatever holds the result. Who sets a clock back is found where the dates of a line, of the
commit it was made at and of the commit that holds it do not follow one another.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from crossover.answers.predict import among
from crossover.ledger.body import Forecast
from crossover.ledger.chain import LEDGER, Ledger
from crossover.ledger.history import Version
from crossover.ledger.realised import Realised

_SLACK = timedelta(minutes=5)  # between clocks of two machines


def waits_for_commit(ledger: Ledger, forecast: Forecast) -> str:
    """Why a forecast cannot be scored yet, or nothing."""
    if ledger.history.flaw or ledger.version_of(forecast):
        return ""
    return f"not committed yet, so nothing shows when it was lodged; commit {LEDGER}"


def refused(ledger: Ledger | None, forecast: Forecast, came: Mapping[str, Realised]) -> str:
    """Why a forecast may have known what came, or nothing. Without a ledger its own date is taken for true."""
    if among(forecast.at, forecast.inputs.places):
        return "its target is among its inputs: that is no forecast"
    held = ledger.version_of(forecast) if ledger and not ledger.history.flaw else None
    lodged = held.date if held else datetime.fromisoformat(forecast.date)
    for name, found in came.items():
        if found.started is not None and datetime.fromisoformat(found.started) < lodged:
            when = f"committed ({lodged.isoformat()})" if held else "lodged"
            return f"{name} began to train at {found.started}, before the forecast was {when}"
    return _against_history(ledger, forecast, held, came) if ledger and held else ""


def _against_history(ledger: Ledger, forecast: Forecast, held: Version, came: Mapping[str, Realised]) -> str:
    dated, history = datetime.fromisoformat(forecast.date), ledger.history
    made_at = history.date_of((forecast.commit or "").removesuffix("-dirty"))
    if made_at and dated < made_at - _SLACK:
        return f"it is dated {forecast.date}, and was made at a commit of {made_at.isoformat()}: a clock was set back"
    if dated > held.date + _SLACK:
        return f"it is dated {forecast.date}, after the commit that holds it ({held.date.isoformat()})"
    for outcome in ledger.outcomes:
        if outcome.forecast == forecast.name and (there := ledger.version_of(outcome)) and there.commit == held.commit:
            return f"commit {held.commit[:12]} lodged what came together with it"
    for name, found in came.items():
        if found.started is None and found.commit and not history.comes_before(held.commit, found.commit):
            return f"{name} is among the results of commit {found.commit[:12]}, which comes not after the forecast's"
    return ""
