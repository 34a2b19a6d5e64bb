"""What of a configuration is in force, and what the arithmetic makes of it."""

import msgspec
import structlog

from buddyd import config
from buddyd.domain.journal import nanodollars
from buddyd.domain.settings import Budget, DomainSettings

log = structlog.get_logger()

# What a running daemon cannot change, beside the format of its log; config/buddyd.toml says so.
FIXED_SETTINGS = ("socket", "database", "durability", "retention", "limits")


def without_what_is_fixed(wanted: config.Settings, before: config.Settings) -> config.Settings:
    """What is in force where `wanted` follows on `before`; says what of it takes a restart."""
    kept = {key: getattr(before, key) for key in FIXED_SETTINGS}
    stale = [key for key in FIXED_SETTINGS if getattr(wanted, key) != kept[key]]
    if wanted.log.format != before.log.format:
        stale.append("log.format")
    if stale:
        log.warning("these settings take a restart to change", keys=", ".join(stale))
    kept["log"] = msgspec.structs.replace(wanted.log, format=before.log.format)
    return msgspec.structs.replace(wanted, **kept)


def domain_settings(settings: config.Settings) -> DomainSettings:
    """What of the configuration the arithmetic depends on."""
    return DomainSettings(
        zone=config.timezone(settings),
        tier1_hours=settings.retention.tier1_hours,
        tier2_hours=settings.retention.tier2_days * 24,
        offline_after_seconds=settings.agents.offline_after_seconds,
        execution_timeout_seconds=settings.agents.execution_timeout_seconds,
        learning_min_executions=settings.learning.min_executions,
        high_success_rate=settings.learning.high_success_rate,
        medium_success_rate=settings.learning.medium_success_rate,
        capacity_window_seconds=settings.capacity.window_seconds,
        storage_price_per_gib_month=settings.cost.storage_price_per_gib_month,
        cost_anomaly_factor=settings.risk.cost_anomaly_factor,
        risk_min_executions=settings.risk.min_executions,
        budgets=tuple(
            Budget(
                limit=nanodollars(budget.limit),
                period=budget.period,
                agent=budget.agent,
                tool=budget.tool,
            )
            for budget in settings.budget
        ),
    )
