"""The settings that the arithmetic depends on, as the projections are given them."""

from datetime import UTC, tzinfo

from msgspec import Struct

from buddyd.domain.answers import BudgetPeriod
from buddyd.domain.windows import MONTH_HOURS


class Budget(Struct, frozen=True, kw_only=True):
    """A limit to what may be spent in a day or a month: on an agent, on a tool, or in all."""

    limit: int
    """Billionths of a dollar."""
    period: BudgetPeriod
    agent: str | None = None
    tool: str | None = None


class DomainSettings(Struct, frozen=True, kw_only=True):
    """What the configuration says about the meaning of the numbers."""

    zone: tzinfo = UTC
    """Where midnight is."""
    tier1_hours: int = 24
    tier2_hours: int = MONTH_HOURS
    offline_after_seconds: float = 120.0
    execution_timeout_seconds: float = 3600.0
    learning_min_executions: int = 3
    high_success_rate: float = 0.95
    medium_success_rate: float = 0.80
    capacity_window_seconds: int = 3600
    storage_price_per_gib_month: float = 0.18
    """US dollars."""
    cost_anomaly_factor: float = 2.0
    risk_min_executions: int = 5
    budgets: tuple[Budget, ...] = ()
