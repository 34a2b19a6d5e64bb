"""One answer to each question, with names as awkward as the daemon lets them be."""

from hashlib import blake2b
from typing import Any

from buddyd.domain import answers as a
from buddyd.domain.answers import Answer
from buddyd.domain.execution import Execution

NOW = "2026-03-01T12:00:00Z"
EARLIER = "2026-03-01T11:57:30Z"
AGENT = "[red]scout[/red] with-a-name-that-is-far-too-long-for-any-column-of-a-table"
TOOL = "web_search[bold]"


def execution(**changes: object) -> Execution:
    fields: dict[str, object] = {
        "task_id": "task-1",
        "agent_id": "scout",
        "tool_name": "web_search",
        "duration_seconds": 1.5,
        "success": True,
    }
    return Execution(**(fields | changes))  # type: ignore[arg-type]  # Its fields by name.


RECEIPT = a.Receipt(accepted=1, duplicates=0, expired=0)
PONG = a.Pong(version="0.1.0", protocol=1, uptime_seconds=11_100.0)

AGENTS = a.AgentsStatus(
    timestamp=NOW,
    total_agents=2,
    agents=[
        a.AgentStatus(
            agent_id=AGENT,
            status="BUSY",
            current_task_id="task-77",
            tasks_completed_today=1234,
            executions_24h=12_510,
            avg_response_time=0.84,
            success_rate=0.98135,
            queue_depth=3,
            last_activity=EARLIER,
        ),
        a.AgentStatus(
            agent_id="zoe",
            status="OFFLINE",
            current_task_id=None,
            tasks_completed_today=0,
            executions_24h=0,
            avg_response_time=0.0,
            success_rate=0.0,
            queue_depth=0,
            last_activity="2026-02-28T12:00:00Z",
        ),
    ],
)

CAPACITY = a.PredictiveCapacity(
    timestamp=NOW,
    window_seconds=3600,
    forecasts=[
        a.Forecast(
            agent_id=AGENT,
            estimated_available_capacity=62,
            capacity_low=48,
            capacity_high=75,
            current_queue_depth=3,
            predicted_completion_time="2026-03-01T12:12:30Z",
            queue_source="reported",
            bottleneck_tools=[TOOL, "browser"],
            forecast_error=4.25,
            interval_coverage=0.79,
        )
    ],
)

PIPELINE = a.TaskPipeline(
    timestamp=NOW,
    last_24_hours=a.LastDay(
        total_tasks=100,
        successful_tasks=93,
        failed_tasks=7,
        success_rate=0.93,
        tool_breakdown={
            "seldom": a.ToolBreakdown(
                total=1, successful=1, failed=0, success_rate=1.0, avg_duration=0.01
            ),
            TOOL: a.ToolBreakdown(
                total=99, successful=92, failed=7, success_rate=0.929, avg_duration=75.0
            ),
        },
        by_effort_level={"LOW": 60, "MEDIUM": 30, "HIGH": 10},
        by_browser=a.BrowserUse(used=25, not_used=75),
    ),
    in_flight=2,
    queued=5,
    hourly=[a.HourCount(hour="2026-03-01T12:00:00Z", total_tasks=100, failed_tasks=7)],
)

COSTS = a.UsageAndCosting(
    timestamp=NOW,
    api_usage=a.ApiUsage(
        total_tasks_24h=100, total_tokens_24h=123_456, avg_tokens_per_task=1234.56
    ),
    costing=a.Costing(
        execution_costs_24h=12.5,
        estimated_costs_24h=0.0,
        storage_costs_daily=0.0000003,
        total_daily_cost=12.5000003,
        by_tool={"cheap": 0.0042, TOOL: 12.4958},
        by_agent={AGENT: 12.5},
    ),
    storage=a.StorageUsage(
        tier1_raw_records=100,
        tier2_hourly_summaries=24,
        estimated_size_mb=0.05,
        database_size_mb=1.25,
    ),
    budgets=[
        a.BudgetUse(
            scope="agent",
            name=AGENT,
            period="month",
            period_start="2026-03-01T00:00:00Z",
            period_end="2026-04-01T00:00:00Z",
            limit=20.0,
            used=12.5,
            share_used=0.625,
            counted_since="2026-03-01T00:00:00Z",
            reported_at=None,
            rate=1.25,
            rate_hours=10.0,
            exhausted=False,
            exhausted_at="2026-03-01T18:00:00Z",
            exhausted_low="2026-03-01T15:00:00Z",
            exhausted_high=None,
            warning=a.BudgetWarning(severity="warning", message="It will last until tonight."),
        ),
        a.BudgetUse(
            scope="service",
            name="maps[/]",
            period="day",
            period_start="2026-03-01T00:00:00Z",
            period_end="2026-03-02T00:00:00Z",
            limit=1.0,
            used=None,
            share_used=None,
            counted_since=None,
            reported_at="2026-02-28T12:00:00Z",
            rate=0.0,
            rate_hours=0.0,
            exhausted=False,
            exhausted_at=None,
            exhausted_low=None,
            exhausted_high=None,
            warning=None,
        ),
    ],
    reconciliation=[
        a.Reconciliation(
            source="cost_tracker[/]",
            missions=3,
            last_report=EARLIER,
            reported_actual=14.0,
            reported_estimated=None,
            compared=a.Comparison(
                since="2026-03-01T09:00:00Z",
                until=EARLIER,
                missions=2,
                executions=80,
                reported_actual=13.0,
                recorded_actual=12.5,
                difference_actual=0.5,
                reported_estimated=None,
                recorded_estimated=0.0,
                difference_estimated=None,
            ),
            not_compared=a.NotCompared(no_beginning=1, too_old=0),
        )
    ],
)

LEARNING = a.SystemLearning(
    timestamp=NOW,
    confidence_distribution=a.ConfidenceDistribution(
        high_confidence=0, medium_confidence=0, low_confidence=1
    ),
    tool_profiles=[
        a.ToolProfile(
            tool_name=TOOL,
            total_executions=40,
            successful_executions=20,
            failed_executions=20,
            success_rate=0.5,
            success_rate_low=0.352,
            success_rate_high=0.648,
            avg_duration=2.5,
            avg_cost=0.01,
            avg_tokens=100.0,
            confidence_level="LOW",
            level_probability=0.99999,
            trend="degrading",
            last_execution=EARLIER,
            level_changed_at=EARLIER,
            previous_level="MEDIUM",
            level_change_reason="A failure was recorded: 19 of the 24 in 30 days succeeded.",
        )
    ],
)


def evidence(executions: int, **rest: Any) -> a.Evidence:  # noqa: ANN401 - its members
    """What a finding rests on; None where nothing is said."""
    members = a.Evidence.__struct_fields__
    ids = [f"run-{n}" for n in range(max(0, executions - 10) + 1, executions + 1)]
    given = {"executions": executions, "execution_ids": ids} | rest
    return a.Evidence(**dict.fromkeys(members) | given)


def finding(
    kind: a.FindingKind,
    summary: str,
    *,
    began: str,
    evidence: a.Evidence,
    severity: a.Severity = "warning",
    **rest: str,
) -> a.RiskFinding:
    """A finding; about nobody and lasting, where nothing is said."""
    about = dict.fromkeys(("agent_id", "tool_name", "task_id", "service", "ended"))
    return a.RiskFinding(
        finding_id=blake2b(summary.encode(), digest_size=8).hexdigest(),
        kind=kind,
        severity=severity,
        began=began,
        summary=summary,
        evidence=evidence,
        **about | rest,  # type: ignore[arg-type]  # `began` has been taken out.
    )


RISKS = a.RiskPatterns(
    timestamp=NOW,
    failure_patterns={
        TOOL: a.FailurePattern(
            total=40,
            failed=20,
            failure_rate=0.5,
            consecutive_failures=4,
            error_types={"timeout": 18, "unknown": 2},
            patterns=["streak", "high_failure_rate"],
            recent_failures=[
                a.RecentFailure(
                    task_id="task-9",
                    agent_id=AGENT,
                    timestamp=EARLIER,
                    duration=30.0,
                    error_type="timeout",
                )
            ],
        )
    },
    cost_anomalies=[
        a.CostAnomaly(
            kind="spike",
            execution_id="\x1b]0;owned\x07",
            task_id="task-9",
            agent_id=AGENT,
            tool_name=TOOL,
            cost=9.0,
            average_cost=0.5,
            unusual=True,
            ratio=18.0,
            timestamp=EARLIER,
        )
    ],
    total_cost_anomalies=1,
    findings=[
        finding(
            "streak",
            f"{TOOL} failed 4 times in a row.",
            began=EARLIER,
            tool_name=TOOL,
            evidence=evidence(4, failed=4, rate=1.0),
        )
    ],
    total_findings=1,
)

HISTORY = a.RiskHistory(
    timestamp=NOW,
    total_findings=2,
    findings=[
        *RISKS.findings,
        finding(
            "loop",
            f"{AGENT} ran {TOOL} 31 times on task-9, and no other tool.",
            severity="alarm",
            began=EARLIER,
            ended=NOW,
            agent_id=AGENT,
            tool_name=TOOL,
            task_id="task-9",
            evidence=evidence(31, failed=1, rate=1 / 31),
        ),
    ],
)

RECOMMENDATIONS = a.ToolRecommendations(
    timestamp=NOW,
    total_recommendations=1,
    recommendations=[
        a.Recommendation(
            tool=TOOL,
            confidence_level="LOW",
            reason="20 of 40 executions failed, 18 of them with timeout.",
            executions=40,
            failed=20,
            recommendation="Give it more time or use another tool: most failures are timeouts.",
            fallback_tool="browser",
            fallback_success_rate=0.9,
            since=EARLIER,
            agents={AGENT: 20},
            fallback_tried=10,
            fallback_cost_ratio=1.5,
            fallback_duration_ratio=0.5,
            missing=["No error type was recorded with its failures."],
        )
    ],
    watch=[],
)

STATUS = a.DaemonStatus(
    timestamp=NOW,
    version="0.1.0",
    protocol=1,
    pid=4711,
    uptime_seconds=90_000.0,
    socket="/run/buddyd/buddyd.sock",
    connections=3,
    actors=[
        a.ActorStatus(
            name="registry",
            state="running",
            restarts=1,
            mailbox_depth=0,
            mailbox_capacity=1024,
            behind=0,
            last_error="ValueError: [oops]",
        )
    ],
    records=a.RecordCounts(accepted=100, duplicate=1, expired=0, refused=2),
    database=a.DatabaseStatus(
        path="/var/lib/buddyd/analytics.db",
        size_bytes=1_310_720,
        sqlite_version="3.45.0",
        schema_version=1,
        commits=12,
        last_commit=EARLIER,
    ),
    settings={"durability": "full"},
)

ANSWERS: dict[str, Answer] = {
    "record_execution": RECEIPT,
    "record_executions": RECEIPT,
    "start_execution": a.Done(),
    "report_agent": a.Done(),
    "report_costs": a.Done(),
    "report_budget": a.Done(),
    "get_agents_status": AGENTS,
    "get_predictive_capacity": CAPACITY,
    "get_task_pipeline": PIPELINE,
    "get_api_usage_and_costing": COSTS,
    "get_system_learning": LEARNING,
    "get_risk_patterns": RISKS,
    "get_tool_recommendations": RECOMMENDATIONS,
    "get_risk_history": HISTORY,
    "get_all": a.Everything(
        timestamp=NOW,
        agents=AGENTS,
        capacity=CAPACITY,
        pipeline=PIPELINE,
        costs=COSTS,
        learning=LEARNING,
        risks=RISKS,
    ),
    "ping": PONG,
    "get_executions": a.Executions(executions=[], next=None),
    "get_hourly_summaries": a.HourlySummaries(summaries=[]),
    "get_daemon_status": STATUS,
    "subscribe": a.Subscribed(subscription=1, commits=41),
    "unsubscribe": a.Done(),
    "run_hourly_aggregation": a.Aggregation(timestamp=NOW, hours_written=3, commits=12),
    "cleanup_old_data": a.Cleanup(
        timestamp=NOW,
        tier1_deleted=5,
        tier2_deleted=1,
        tier3_deleted=0,
        execution_ids_deleted=7,
        bytes_freed=4096,
    ),
    "backup": a.BackupDone(timestamp=NOW, path="/tmp/copy.db", size_bytes=1_310_720),
}
