"""Answers as a busy house gives them, for screens: always the same, whenever they are looked at."""

import math

import msgspec
from msgspec import UNSET

from buddyd.domain import answers as a
from buddyd.domain.answers import Answer
from buddyd.domain.confidence import level, level_probability, wilson_interval
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import HOUR, rfc3339
from buddyd.protocol.messages import GetExecutions, GetRiskHistory
from tests.support.peer import Asked
from tests.support.samples import STATUS, evidence, finding

NOW = 1_772_366_730.0
"""2026-03-01T12:05:30Z."""
SETTINGS = DomainSettings()

TOOLS = {
    # Runs, successes, seconds, dollars, tokens, trend, minutes since the last run.
    "web_search": (4210, 4173, 1.42, 0.0021, 810, "stable", 0),
    "browser.open_page_and_extract_readable_text": (1807, 1641, 6.3, 0.0084, 4200, "degrading", 2),
    "python": (960, 949, 0.38, 0.0, 0, "stable", 7),
    "github.create_pull_request": (312, 201, 11.8, 0.0127, 2950, "improving", 95),
    "翻訳サービス": (44, 44, 0.91, 0.0008, 300, "stable", 300),
    "send_email": (2, 2, 0.2, 0.0, 0, "stable", 4000),
}
AGENTS: dict[str, tuple[a.AgentState, str | None, int, int, float, int, int]] = {
    # Status, task, executions today and in a day, success, queue, seconds since it was seen.
    "ci": ("IDLE", None, 212, 418, 0.988, 0, 40),
    "crawler-eu-west-1-production-0a7c3b": (
        "BUSY",
        "crawl-2026-03-01-000417",
        880,
        1702,
        0.934,
        37,
        0,
    ),
    "ingénieur": ("ERROR", None, 3, 3, 0.0, 0, 7260),
    "night-shift": ("OFFLINE", None, 0, 96, 0.802, 5, 30_000),
    "scout": ("BUSY", "t-77", 41, 77, 1.0, 1, 3),
}


_BUDGET = (
    "The budget of $20.00 a day will last until 2026-03-01 16:05 UTC at $1.50 an hour; "
    "$14.00 is spent."
)


def _ago(seconds: float) -> str:
    return rfc3339(NOW - seconds)


def _profile(name: str) -> a.ToolProfile:
    runs, successes, duration, cost, tokens, trend, minutes = TOOLS[name]
    verdict = level(successes, runs, SETTINGS)
    low, high = wilson_interval(successes, runs)
    return a.ToolProfile(
        tool_name=name,
        total_executions=runs,
        successful_executions=successes,
        failed_executions=runs - successes,
        success_rate=successes / runs,
        success_rate_low=low,
        success_rate_high=high,
        avg_duration=duration,
        avg_cost=cost,
        avg_tokens=float(tokens),
        confidence_level=verdict,
        level_probability=level_probability(verdict, successes, runs, SETTINGS),
        trend=trend,  # type: ignore[arg-type]  # One of the three.
        last_execution=_ago(minutes * 60),
        level_changed_at=None,
        previous_level=None,
        level_change_reason=None,
    )


_PROFILES = [_profile(name) for name in TOOLS]
_LEVELS = [profile.confidence_level for profile in _PROFILES]

LEARNING = a.SystemLearning(
    timestamp=rfc3339(NOW),
    confidence_distribution=a.ConfidenceDistribution(
        high_confidence=_LEVELS.count("HIGH"),
        medium_confidence=_LEVELS.count("MEDIUM"),
        low_confidence=_LEVELS.count("LOW"),
    ),
    tool_profiles=_PROFILES,
)

AGENTS_STATUS = a.AgentsStatus(
    timestamp=rfc3339(NOW),
    total_agents=len(AGENTS),
    agents=[
        a.AgentStatus(
            agent_id=name,
            status=status,
            current_task_id=task,
            tasks_completed_today=today,
            executions_24h=day,
            avg_response_time=0.4 + len(name) / 10,
            success_rate=rate,
            queue_depth=queue,
            last_activity=_ago(seconds),
        )
        for name, (status, task, today, day, rate, queue, seconds) in AGENTS.items()
    ],
)

_FORECASTS: dict[str, tuple[int, int, int, float | None, float | None, list[str]]] = {
    # Low, likely, high, seconds until it is done, error, bottlenecks.
    "ci": (71, 84, 96, None, 4.2, ["python"]),
    "crawler-eu-west-1-production-0a7c3b": (
        *(2, 9, 31),
        *(1260.0, 11.6),
        ["browser.open_page_and_extract_readable_text", "web_search"],
    ),
    "ingénieur": (0, 99, 100, None, None, []),
    "night-shift": (0, 0, 0, 2.0, 8.0, ["翻訳サービス"]),
    "scout": (40, 55, 78, 12.0, 6.75, ["web_search"]),
}
CAPACITY = a.PredictiveCapacity(
    timestamp=rfc3339(NOW),
    window_seconds=HOUR,
    forecasts=[
        a.Forecast(
            agent_id=name,
            estimated_available_capacity=likely,
            capacity_low=low,
            capacity_high=high,
            current_queue_depth=AGENTS[name][5],
            predicted_completion_time=None if left is None else _ago(-left),
            bottleneck_tools=tools,
            forecast_error=error,
            queue_source="reported",
            interval_coverage=None,
        )
        for name, (low, likely, high, left, error, tools) in _FORECASTS.items()
    ],
)


def _in_hour(hours_ago: int) -> int:
    return round(60 + 55 * math.sin((hours_ago + 4) / 24 * 2 * math.pi)) if hours_ago != 9 else 0


_HOURS = [
    a.HourCount(
        hour=rfc3339(NOW // HOUR * HOUR - ago * HOUR),
        total_tasks=_in_hour(ago),
        failed_tasks=_in_hour(ago) // 12,
    )
    for ago in reversed(range(24))
]

PIPELINE = a.TaskPipeline(
    timestamp=rfc3339(NOW),
    last_24_hours=a.LastDay(
        total_tasks=2296,
        successful_tasks=2174,
        failed_tasks=122,
        success_rate=2174 / 2296,
        tool_breakdown={
            name: a.ToolBreakdown(
                total=runs // 3,
                successful=runs // 3 - (runs - successes) // 3,
                failed=(runs - successes) // 3,
                success_rate=1 - ((runs - successes) // 3) / (runs // 3),
                avg_duration=duration,
            )
            for name, (runs, successes, duration, *_) in TOOLS.items()
            if runs > 2
        },
        by_effort_level={"LOW": 1502, "MEDIUM": 701, "HIGH": 93},
        by_browser=a.BrowserUse(used=612, not_used=1684),
    ),
    in_flight=2,
    queued=43,
    hourly=_HOURS,
)

COSTS = a.UsageAndCosting(
    timestamp=rfc3339(NOW),
    api_usage=a.ApiUsage(
        total_tasks_24h=2296, total_tokens_24h=4_211_907, avg_tokens_per_task=1834.5
    ),
    costing=a.Costing(
        execution_costs_24h=14.0,
        estimated_costs_24h=11.25,
        storage_costs_daily=0.0000066,
        total_daily_cost=14.0000066,
        by_tool={
            "browser.open_page_and_extract_readable_text": 9.1,
            "web_search": 4.2,
            "github.create_pull_request": 0.6958,
            "翻訳サービス": 0.0042,
        },
        by_agent={"crawler-eu-west-1-production-0a7c3b": 13.3, "scout": 0.7, "ci": 0.0},
    ),
    storage=a.StorageUsage(
        tier1_raw_records=2296,
        tier2_hourly_summaries=655,
        estimated_size_mb=1.22,
        database_size_mb=3.75,
    ),
    budgets=[
        a.BudgetUse(
            scope="all",
            name=None,
            period="day",
            period_start=rfc3339(NOW // (24 * HOUR) * 24 * HOUR),
            period_end=rfc3339((NOW // (24 * HOUR) + 1) * 24 * HOUR),
            limit=20.0,
            used=14.0,
            share_used=0.7,
            counted_since=rfc3339(NOW // (24 * HOUR) * 24 * HOUR),
            reported_at=None,
            rate=1.5,
            rate_hours=9.0,
            exhausted=False,
            exhausted_at=_ago(-4 * HOUR),
            exhausted_low=_ago(-3 * HOUR),
            exhausted_high=None,
            warning=a.BudgetWarning(severity="warning", message=_BUDGET),
        )
    ],
    reconciliation=[],
)

_BROWSER, _CRAWLER = "browser.open_page_and_extract_readable_text", list(AGENTS)[1]
_FINDINGS = [
    finding(
        "silent",
        "night-shift fell silent with 5 tasks waiting or open.",
        severity="alarm",
        began=_ago(29_880),
        agent_id="night-shift",
        evidence=evidence(0, waiting=5),
    ),
    finding(
        "streak",
        f"{_BROWSER} failed 4 times in a row.",
        began=_ago(200),
        tool_name=_BROWSER,
        evidence=evidence(4, failed=4, rate=1.0),
    ),
    finding(
        "budget",
        _BUDGET,
        began=_ago(7_200),
        evidence=evidence(1_912, value=14.0, usual=20.0, ratio=0.7),
    ),
    finding(
        "high_failure_rate",
        "37 of 104 executions of github.create_pull_request failed within a day.",
        began=_ago(54_000),
        tool_name="github.create_pull_request",
        evidence=evidence(104, failed=37, rate=37 / 104),
    ),
    finding(
        "cost_rise",
        f"web_search now costs {_CRAWLER} $0.0064 on average, 3.0 times the usual.",
        began=_ago(40_000),
        agent_id=_CRAWLER,
        tool_name="web_search",
        evidence=evidence(9, value=0.0064, usual=0.0021, ratio=3.0476),
    ),
    finding(
        "dominant_error",
        f"`timeout` is behind 41 of 55 failures of {_BROWSER}.",
        severity="info",
        began=_ago(70_000),
        tool_name=_BROWSER,
        evidence=evidence(55, failed=41, rate=41 / 55, error_type="timeout"),
    ),
]
"""The worst first."""
_ENDED = [
    finding(
        "loop",
        "scout ran python 23 times on t-64, and no other tool.",
        severity="alarm",
        began=_ago(300_000),
        ended=_ago(299_000),
        agent_id="scout",
        tool_name="python",
        task_id="t-64",
        evidence=evidence(23, failed=0, rate=0.0),
    ),
    finding(
        "slow_down",
        "web_search takes 3.1 s on average, 2.2 times the usual.",
        began=_ago(900_000),
        ended=_ago(800_000),
        tool_name="web_search",
        evidence=evidence(41, value=3.1, usual=1.4, ratio=2.2),
    ),
]

RISKS = a.RiskPatterns(
    timestamp=rfc3339(NOW),
    failure_patterns={
        "browser.open_page_and_extract_readable_text": a.FailurePattern(
            total=602,
            failed=55,
            failure_rate=55 / 602,
            consecutive_failures=4,
            error_types={"timeout": 41, "http_403": 9, "unknown": 5},
            patterns=["streak", "dominant_error", "degrading"],
            recent_failures=[
                a.RecentFailure(
                    task_id=f"crawl-2026-03-01-{417 - n:06}",
                    agent_id="crawler-eu-west-1-production-0a7c3b",
                    timestamp=_ago(60 * n + 20),
                    duration=30.0,
                    error_type="timeout" if n % 3 else None,
                )
                for n in range(10)
            ],
        ),
        "github.create_pull_request": a.FailurePattern(
            total=104,
            failed=37,
            failure_rate=37 / 104,
            consecutive_failures=0,
            error_types={"merge_conflict": 22, "http_422": 15},
            patterns=["high_failure_rate", "dominant_error"],
            recent_failures=[
                a.RecentFailure(
                    task_id="t-70",
                    agent_id="scout",
                    timestamp=_ago(5400),
                    duration=8.25,
                    error_type="merge_conflict",
                )
            ],
        ),
    },
    cost_anomalies=[
        a.CostAnomaly(
            kind="spike",
            execution_id="0195500c-0000-7000-8000-000000000000",
            task_id="t-71",
            agent_id="scout",
            tool_name="browser.open_page_and_extract_readable_text",
            cost=0.21,
            average_cost=0.0084,
            unusual=True,
            ratio=25.0,
            timestamp=_ago(10_000),
        ),
        a.CostAnomaly(
            kind="rise",
            execution_id="0195500c-0000-7000-8000-000000000001",
            task_id="crawl-2026-03-01-000101",
            agent_id="crawler-eu-west-1-production-0a7c3b",
            tool_name="web_search",
            cost=0.0064,
            average_cost=0.0021,
            unusual=True,
            ratio=3.0476,
            timestamp=_ago(40_000),
        ),
    ],
    total_cost_anomalies=2,
    findings=_FINDINGS,
    total_findings=len(_FINDINGS),
)

RISK_HISTORY = a.RiskHistory(
    timestamp=rfc3339(NOW),
    total_findings=len(_FINDINGS) + len(_ENDED),
    findings=sorted(_FINDINGS + _ENDED, key=lambda each: each.began, reverse=True),
)

RECOMMENDATIONS = a.ToolRecommendations(
    timestamp=rfc3339(NOW),
    total_recommendations=1,
    recommendations=[
        a.Recommendation(
            tool="github.create_pull_request",
            confidence_level="LOW",
            reason="111 of 312 executions failed in the last 30 days: a success rate of 64.4%.",
            executions=312,
            failed=111,
            recommendation="Look at `merge_conflict` first: it is behind 66 of its 111 failures. "
            "Fall back on python: it was tried on 20 tasks after github.create_pull_request "
            "had failed on them, and succeeded on 17.",
            fallback_tool="python",
            fallback_success_rate=0.85,
            since=_ago(40_000),
            agents={"scout": 111},
            fallback_tried=20,
            fallback_cost_ratio=0.5,
            fallback_duration_ratio=1.25,
            missing=[],
        )
    ],
    watch=[],
)

_SUMMARIES = [
    a.HourlySummary(
        hour=hour.hour,
        total_tasks=hour.total_tasks,
        successful_tasks=hour.total_tasks - hour.failed_tasks,
        failed_tasks=hour.failed_tasks,
        total_cost=hour.total_tasks * 0.0061,
        total_tokens=hour.total_tasks * 1834,
        avg_task_duration=1.5 + hour.total_tasks / 50,
        avg_cost_per_task=0.0061,
        tool_execution_counts={"web_search": hour.total_tasks},
    )
    for hour in _HOURS
    if hour.total_tasks
]


def records(agent: str, tool: str) -> list[a.StoredExecution]:
    """Forty records over some hours, the newest first; one in five failed."""
    return [
        a.StoredExecution(
            execution_id=f"e-{n}",
            task_id=f"t-{n}",
            agent_id=agent,
            tool_name=tool,
            duration_seconds=2.0 + n % 7,
            success=n % 5 != 0,
            finished_at=NOW - 400 * n,
            cost_actual=0.002,
            cost_estimate=0.002,
            tokens_used=100,
            human_effort_level="LOW",
            browser_used=False,
            error_type=None if n % 5 else "timeout",
        )
        for n in range(40)
    ]


def script(asked: Asked) -> Answer:
    """Answers like the daemon of that house."""
    if isinstance(asked.params, GetExecutions):
        agent = asked.params.agent_id or "scout"
        tool = asked.params.tool_name or "web_search"
        return a.Executions(executions=records(str(agent), str(tool)), next=None)
    if isinstance(asked.params, GetRiskHistory):
        wanted = {asked.params.agent_id, asked.params.tool_name} - {UNSET}
        found = [
            each for each in RISK_HISTORY.findings if wanted <= {each.agent_id, each.tool_name}
        ]
        return msgspec.structs.replace(RISK_HISTORY, findings=found, total_findings=len(found))
    return ANSWERS[asked.method]


ANSWERS: dict[str, Answer] = {
    "get_agents_status": AGENTS_STATUS,
    "get_predictive_capacity": CAPACITY,
    "get_task_pipeline": PIPELINE,
    "get_api_usage_and_costing": COSTS,
    "get_system_learning": LEARNING,
    "get_risk_patterns": RISKS,
    "get_tool_recommendations": RECOMMENDATIONS,
    "get_all": a.Everything(
        timestamp=rfc3339(NOW),
        agents=AGENTS_STATUS,
        capacity=CAPACITY,
        pipeline=PIPELINE,
        costs=COSTS,
        learning=LEARNING,
        risks=RISKS,
    ),
    "get_risk_history": RISK_HISTORY,
    "get_hourly_summaries": a.HourlySummaries(summaries=_SUMMARIES),
    "get_daemon_status": a.DaemonStatus(
        timestamp=rfc3339(NOW),
        version=STATUS.version,
        protocol=STATUS.protocol,
        pid=STATUS.pid,
        uptime_seconds=90_000.0,
        socket="/run/buddyd/buddyd.sock",
        connections=3,
        actors=[
            a.ActorStatus(
                name=name,
                state=state,
                restarts=restarts,
                mailbox_depth=depth,
                mailbox_capacity=128,
                behind=0,
                last_error=error,
            )
            for name, state, restarts, depth, error in (
                ("collector", "running", 0, 3, None),
                ("registry", "running", 0, 0, None),
                (
                    "risk",
                    "restarting",
                    2,
                    1,
                    "ValueError: not enough values to unpack [expected 2]",
                ),
            )
        ],
        records=a.RecordCounts(accepted=2296, duplicate=12, expired=0, refused=1),
        database=a.DatabaseStatus(
            path="/var/lib/buddyd/analytics.db",
            size_bytes=3_932_160,
            sqlite_version="3.45.1",
            schema_version=1,
            commits=4711,
            last_commit=_ago(3),
        ),
        settings={
            "learning": {
                "min_executions": 3,
                "high_success_rate": 0.95,
                "medium_success_rate": 0.8,
            },
            "agents": {"offline_after_seconds": 120.0},
            "retention": {"tier1_hours": 24},
        },
    ),
}
