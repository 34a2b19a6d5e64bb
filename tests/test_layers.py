"""The arrows of import: what each part of buddyd may know of the others.

The tables below are the architecture; the rest of this file holds the code to them. Imports count
wherever they stand: at the top, under TYPE_CHECKING, inside a function.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import buddyd

ROOT = Path(buddyd.__file__).parent
EVERYTHING = frozenset({"buddyd"})

# What a part imports of buddyd. A package stands for all that is in it; the longest name that
# fits a module is its part.
MAY_IMPORT: dict[str, frozenset[str]] = {
    # The words that all share.
    "buddyd.errors": frozenset(),
    "buddyd.paths": frozenset({"buddyd.errors"}),
    "buddyd.config": frozenset({"buddyd.errors", "buddyd.paths", "buddyd.config_wording"}),
    "buddyd.config_wording": frozenset(),
    "buddyd.events": frozenset(),
    "buddyd.log": frozenset({"buddyd.errors", "buddyd.config", "buddyd.events", "buddyd.log_text"}),
    "buddyd.log_text": frozenset(),
    "buddyd.systemd": frozenset({"buddyd.errors"}),
    "buddyd.install": frozenset({"buddyd.install", "buddyd.errors", "buddyd.systemd"}),
    "buddyd.clock": frozenset(),
    # Pure: the arithmetic, and the wire.
    "buddyd.domain": frozenset({"buddyd.domain"}),
    "buddyd.protocol": frozenset({"buddyd.protocol", "buddyd.domain", "buddyd.errors"}),
    # How any actor lives; it knows none of them.
    "buddyd.runtime": frozenset({"buddyd.runtime", "buddyd.errors"}),
    # SQL, and nothing else.
    "buddyd.storage": frozenset(
        {
            "buddyd.storage",
            "buddyd.domain",
            "buddyd.protocol.messages",
            "buddyd.config",
            "buddyd.errors",
        }
    ),
    # The actors get what they need handed in; they know neither the wire nor the socket.
    "buddyd.actors": frozenset(
        {
            "buddyd.actors",
            "buddyd.domain",
            "buddyd.runtime",
            "buddyd.storage",
            "buddyd.protocol.messages",
            "buddyd.errors",
        }
    ),
    # The server knows no method, no actor and no database.
    "buddyd.server": frozenset(
        {
            "buddyd.server",
            "buddyd.protocol",
            "buddyd.runtime.background",
            "buddyd.runtime.channels",
            "buddyd.runtime.timer",
            "buddyd.domain.answers",
            "buddyd.domain.execution",
            "buddyd.config",
            "buddyd.errors",
        }
    ),
    # The other side of the socket knows nothing of the daemon but the protocol.
    "buddyd.client": frozenset(
        {"buddyd.client", "buddyd.protocol", "buddyd.domain", "buddyd.errors", "buddyd.paths"}
    ),
    "buddyd.cli": frozenset(
        {
            "buddyd.cli",
            "buddyd.client",
            "buddyd.domain",
            "buddyd.protocol",
            "buddyd.errors",
            "buddyd.paths",
            # `check` looks at a database that no daemon need have open.
            "buddyd.config",
            "buddyd.storage.check",
            "buddyd.__version__",
        }
    ),
    "buddyd.in_force": frozenset({"buddyd.config", "buddyd.domain"}),
    # These put it all together.
    "buddyd.health": EVERYTHING,
    "buddyd.dispatch": EVERYTHING,
    "buddyd.feed": EVERYTHING,
    "buddyd.daemon": EVERYTHING,
    "buddyd.program": EVERYTHING,
    "buddyd.__main__": frozenset({"buddyd.program"}),
    "buddyd": frozenset(),
}

# What a part imports from elsewhere, where that is limited. `stdlib` less what follows a minus.
IO_MODULES = frozenset(
    {
        "asyncio",
        "fcntl",
        "grp",
        "io",
        "logging",
        "multiprocessing",
        "pathlib",
        "pwd",
        "selectors",
        "signal",
        "socket",
        "socketserver",
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
    }
)
PURE = sys.stdlib_module_names - IO_MODULES | {"msgspec"}

MAY_USE: dict[str, frozenset[str]] = {
    # `time` and `os` for the new ids of execution.py alone; see CLOCKS.
    "buddyd.domain": PURE - {"os", "time"},
    "buddyd.domain.execution": PURE,
    "buddyd.protocol": PURE - {"os", "time", "datetime"},
    "buddyd.errors": PURE - {"os", "time", "datetime"},
    "buddyd.runtime": PURE - {"os"} | {"anyio", "structlog"},
    "buddyd.runtime.background": PURE - {"os", "time"} | {"asyncio", "threading"},
    "buddyd.runtime.timer": PURE - {"os"} | {"asyncio"},
    "buddyd.runtime.channels": PURE - {"os", "time"} | {"anyio", "asyncio"},
    # sqlite3 for the type of a connection: see SQL. `time` for pauses: the time of day is given.
    "buddyd.actors": PURE - {"os", "datetime"} | {"anyio", "structlog", "sqlite3"},
}

# Who knows these at all.
ONLY_IN: dict[str, frozenset[str]] = {
    "aiosqlite": frozenset({"buddyd.storage"}),
    "sqlite3": frozenset({"buddyd.storage", "buddyd.actors", "buddyd.health"}),
    "socket": frozenset(
        {
            "buddyd.server",
            "buddyd.client",
            "buddyd.daemon",
            "buddyd.systemd",
            "buddyd.log",
        }
    ),
    "click": frozenset({"buddyd.cli"}),
    "rich": frozenset({"buddyd.cli"}),
    "prometheus_client": frozenset({"buddyd.cli.metrics", "buddyd.cli.render.exposition"}),
    # An extra.
    "matplotlib": frozenset({"buddyd.cli.plotting.picture"}),
}

# A module that fetches another one, which builds on it, only when it is needed.
DEFERRED = {
    "buddyd.cli.progress": {"buddyd.cli.render.bar"},
    "buddyd.cli.entry": {"buddyd.cli.main"},
}

# Calls that tell the time. The domain is told; only a new id reads the clock.
CLOCKS = frozenset(
    {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "now", "utcnow", "today"}
)
MAY_READ_CLOCK = frozenset({("buddyd.domain.execution", "new_execution_id")})

# Calls that run SQL; the actors pass on functions of storage.
SQL = frozenset({"execute", "executemany", "executescript", "cursor", "commit"})

# Calls that open a file. In storage nothing but SQLite opens the database: closing any other
# descriptor of it would drop the locks that the process holds on it.
OPENERS = frozenset(
    {
        "open",
        "read_bytes",
        "read_text",
        "write_bytes",
        "write_text",
        "copy",
        "copy2",
        "copyfile",
        "copyfileobj",
        "touch",
    }
)
MAY_OPEN = frozenset(
    {
        # The lock, which is a file of its own.
        ("buddyd.storage.ownership", "sole_owner"),
        # The text of the migrations.
        ("buddyd.storage.schema", "migrations"),
        # Before there is any connection: a damaged file is looked at, and its rows are saved.
        ("buddyd.storage.recovery", "_head"),
        ("buddyd.storage.recovery", "_readable"),
        ("buddyd.storage.recovery", "_new_first_page"),
        ("buddyd.storage.recovery", "_save"),
        # The copy, before SQLite has it; closed when SQLite has let go of it.
        ("buddyd.storage.backup", "_partial"),
        # What a killed daemon left of a copy.
        ("buddyd.storage.backup", "_remove_unless_used"),
        # Folders; and what was saved, before it gets the database's name.
        ("buddyd.storage.folders", "sync"),
    }
)


class Module(NamedTuple):
    """A file of buddyd."""

    name: str
    tree: ast.Module


@cache
def modules() -> dict[str, Module]:
    """Every module by its name."""
    found = {}
    for file in ROOT.rglob("*.py"):
        parts = ["buddyd", *file.relative_to(ROOT).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, ast.parse(file.read_text()))
    return found


def imports(module: Module) -> Iterator[str]:
    """The dotted name of everything that a module imports, wherever it does."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(module: Module) -> Iterator[tuple[str, str, int]]:
    """The function that a call stands in, the last part of what it calls, and the line."""
    for function, node in _with_function(module.tree, ""):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute):
                yield function, called.attr, node.lineno
            elif isinstance(called, ast.Name):
                yield function, called.id, node.lineno


def _with_function(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        inner = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = child.name
        yield inner, child
        yield from _with_function(child, inner)


def within(name: str, packages: frozenset[str]) -> bool:
    """Whether `name` is one of these, or inside of one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def part_of(name: str, table: dict[str, frozenset[str]]) -> str | None:
    """The longest name of the table that fits a module."""
    fitting = [part for part in table if within(name, frozenset({part}))]
    return max(fitting, key=len, default=None)


def is_ours(name: str) -> bool:
    return within(name, EVERYTHING)


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_only_what_its_part_may_know(name: str) -> None:
    part = part_of(name, MAY_IMPORT)
    assert part is not None
    assert part != "buddyd" or name == "buddyd", f"{name} has no place in MAY_IMPORT"
    strangers = [
        imported
        for imported in imports(modules()[name])
        if is_ours(imported) and not within(imported, MAY_IMPORT[part])
    ]
    assert strangers == []


@pytest.mark.parametrize("name", [name for name in modules() if part_of(name, MAY_USE)])
def test_what_is_pure_stays_pure(name: str) -> None:
    allowed = MAY_USE[part_of(name, MAY_USE) or ""]
    strangers = [
        imported
        for imported in imports(modules()[name])
        if not is_ours(imported) and imported.split(".")[0] not in allowed
    ]
    assert strangers == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_known_to_few(library: str) -> None:
    users = {
        name
        for name, module in modules().items()
        if any(within(imported, frozenset({library})) for imported in imports(module))
    }
    assert users, f"nobody uses {library}"
    assert [name for name in sorted(users) if not within(name, ONLY_IN[library])] == []


def test_the_domain_is_told_the_time() -> None:
    readers = {
        (name, function)
        for name, module in modules().items()
        if within(name, frozenset({"buddyd.domain"}))
        for function, called, _ in calls(module)
        if called in CLOCKS
    }
    assert readers == MAY_READ_CLOCK


def test_actors_run_no_sql_themselves() -> None:
    culprits = [
        f"{name}:{line} {called}"
        for name, module in modules().items()
        if within(name, frozenset({"buddyd.actors"}))
        for _, called, line in calls(module)
        if called in SQL
    ]
    assert culprits == []


def test_nothing_but_sqlite_opens_the_database() -> None:
    openers = {
        (name, function)
        for name, module in modules().items()
        if within(name, frozenset({"buddyd.storage"}))
        for function, called, _ in calls(module)
        if called in OPENERS
    }
    assert openers == MAY_OPEN


def test_packages_do_not_import_each_other_in_a_circle() -> None:
    """Seen as packages and single modules of the top level."""
    graph: dict[str, set[str]] = {}
    for name, module in modules().items():
        here = ".".join(name.split(".")[:2])
        there = {".".join(i.split(".")[:2]) for i in imports(module) if is_ours(i)}
        known = {each for each in there if each in modules()} - DEFERRED.get(name, set())
        graph.setdefault(here, set()).update(known - {here})
    assert list(_circle(graph)) == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name, module in modules().items():
        imported = {part_of(i, dict.fromkeys(modules(), frozenset())) for i in imports(module)}
        graph[name] = {each for each in imported if each} - {name, "buddyd"}
        graph[name] -= DEFERRED.get(name, set())
    assert list(_circle(graph)) == []


def _circle(graph: dict[str, set[str]]) -> Iterator[str]:
    """The members of some circle; none where there is none."""
    left = {node: set(others) for node, others in graph.items()}
    while free := [node for node in left if not left[node] & left.keys()]:
        for node in free:
            del left[node]
    yield from sorted(left)


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_the_tables_name_what_there_is(part: str) -> None:
    assert part in modules()
    for allowed in MAY_IMPORT[part] - {"buddyd.__version__"}:
        assert allowed in modules()
