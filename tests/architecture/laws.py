"""The laws of the house that can be read off the source. Each takes the root of a tree and returns its breaches.

A breach is text, `path:line: what is wrong`. What may import what is the table RULES; the laws themselves are in LAWS.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.db import models

LONGEST_FUNCTION, LONGEST_FILE = 70, 500
PRODUCT = ("billing", "marketplace")
MODULES = (*PRODUCT, "benchmarks", "tests", "manage")
PYTHON = (*PRODUCT, "benchmarks", "tests", "manage.py")
TEXT = (
    *PYTHON,
    "templates",
    "static",
    "docs",
    "locale",
    ".ci",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
)


# Reading a tree


@dataclass(frozen=True)
class Source:
    path: Path  # relative to the root
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def at(self, node: ast.AST | int, problem: str) -> str:
        return f"{self.path}:{node if isinstance(node, int) else node.lineno}: {problem}"  # type: ignore[attr-defined]


def files(root: Path, tops: tuple[str, ...], pattern: str = "*") -> Iterator[Path]:
    for top in tops:
        paths = [root / top] if (root / top).is_file() else sorted((root / top).rglob(pattern))
        yield from (path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def sources(root: Path, *tops: str) -> Iterator[Source]:
    for path in files(root, tops, "*.py"):
        if "migrations" not in path.parts:
            text = path.read_text()
            yield Source(path.relative_to(root), text, ast.parse(text))


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Line and full name of all that is imported; `from a import b` counts as `a.b`, which within() also finds in `a`."""
    package = source.module if source.path.stem == "__init__" else source.module.rpartition(".")[0]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = (
                ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            yield from ((node.lineno, f"{base}.{name.name}") for name in node.names)


# Imports

ROOTS = ("marketplace.settings", "marketplace.urls", "marketplace.wsgi")
LEAVES = (
    *(f"marketplace.{leaf}" for leaf in ("api", "web", "admin", "tasks", "management")),
    *(f"billing.{leaf}" for leaf in ("tasks", "management")),
)
HTTP = (
    "django.http",
    "django.shortcuts",
    "django.views",
    "django.urls",
    "django.contrib.admin",
    "rest_framework",
    "unfold",
)


@dataclass(frozen=True)
class Rule:
    """Modules of `who`, but for those of `but`, import nothing of `never` and, of `of`, only what is in `only`."""

    why: str
    who: tuple[str, ...]
    never: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def breaks(self, module: str, imported: str) -> bool:
        if not within(module, *self.who) or within(module, *self.but):
            return False
        return within(imported, *self.never) or (within(imported, *self.of) and not within(imported, *self.only))


RULES = [
    Rule("marketplace imports billing, never back", ("billing",), never=("marketplace",)),
    Rule("billing has no HTTP and no admin of its own", ("billing",), never=HTTP),
    Rule(
        "models import models and the pure core only",
        ("billing.models", "marketplace.models"),
        of=PRODUCT,
        only=("billing.models", "billing.rating", "marketplace.models"),
    ),
    Rule(
        "only billing.stripe_gateway imports stripe",
        MODULES,
        never=("stripe",),
        but=("billing.stripe_gateway", "tests"),
    ),
    Rule("verbs and models never import the leaves", PRODUCT, never=LEAVES, but=(*LEAVES, *ROOTS)),
    Rule("nobody imports the composition root", MODULES, never=ROOTS, but=("tests",)),
    Rule("the product imports no tests and no benchmarks", (*PRODUCT, "manage"), never=("tests", "benchmarks")),
    Rule(
        "there are no signals",
        MODULES,
        never=(
            "django.dispatch",
            *(f"django.{place}.signals" for place in ("core", "db.models", "db.backends", "contrib.auth")),
        ),
    ),
]


def import_directions(root: Path) -> list[str]:
    return [
        source.at(line, f"{source.module} imports {imported}: {rule.why}")
        for source in sources(root, *PYTHON)
        for line, imported in imports(source)
        for rule in RULES
        if rule.breaks(source.module, imported)
    ]


def pure_core(root: Path) -> list[str]:
    return [
        source.at(line, f"{source.module} imports {imported}: the core stands on the standard library alone")
        for source in sources(root, "billing/rating")
        for line, imported in imports(source)
        if imported.partition(".")[0] not in sys.stdlib_module_names - {"time", "random", "os", "socket"}
        and not within(imported, "billing.rating")
    ]


# Shape


def names(root: Path) -> list[str]:
    vague = {"services", "utils", "helpers", "core", "common", "managers"}
    return [
        f"{path.relative_to(root)}:1: a name that says nothing"
        for path in files(root, PYTHON)
        if vague & {path.stem, *path.relative_to(root).parent.parts}
    ]


def lengths(root: Path) -> list[str]:
    found = []
    for source in sources(root, *PYTHON):
        if (lines := source.text.count("\n")) > LONGEST_FILE:
            found.append(source.at(1, f"a file of {lines} lines"))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    found.append(source.at(node, f"{node.name} has {lines} lines"))
    return found


# Habits


def floats(root: Path) -> list[str]:
    found = []
    for source in sources(root, "billing"):
        recognised = set()  # to ask whether a value is a float is how one is refused
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and _mentions(node.func, "isinstance"):
                recognised |= set(ast.walk(node.args[1]))
        for node in ast.walk(source.tree):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            if (literal or _names(node, "float", "FloatField")) and node not in recognised:
                found.append(source.at(node, "a float where money is"))
    return found


def clocks(root: Path) -> list[str]:
    """Time is an argument in billing. Its tasks and commands are the edge, where the clock is read."""
    found = []
    for source in sources(root, "billing"):
        if within(source.module, *LEAVES):
            continue
        for node in ast.walk(source.tree):
            reads = isinstance(node, ast.Attribute) and (
                node.attr in ("now", "utcnow", "today", "localdate")
                or ast.unparse(node) in ("time.time", "time.time_ns")
            )
            stamps = isinstance(node, ast.keyword) and node.arg in ("auto_now", "auto_now_add")
            if reads or stamps:
                found.append(source.at(node, f"{ast.unparse(node)} reads the clock"))
        found += [source.at(line, f"{name} reads the clock") for line, name in imports(source) if name in _CLOCKS]
    return found


_CLOCKS = ("time.time", "time.time_ns", "django.utils.timezone.now", "django.db.models.functions.Now")


def swallowed(root: Path) -> list[str]:
    found = []
    for source in sources(root, *PYTHON):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler):
                wide = node.type is None or _mentions(node.type, "Exception", "BaseException")
                if node.type is None or (wide and all(_says_nothing(statement) for statement in node.body)):
                    found.append(source.at(node, "an exception is swallowed"))
            elif (
                isinstance(node, ast.Call)
                and _mentions(node.func, "suppress")
                and any(_mentions(a, "Exception") for a in node.args)
            ):
                found.append(source.at(node, "an exception is swallowed"))
    return found


def _names(node: ast.AST, *wanted: str) -> bool:
    return (isinstance(node, ast.Name) and node.id in wanted) or (
        isinstance(node, ast.Attribute) and node.attr in wanted
    )


def _mentions(node: ast.AST, *wanted: str) -> bool:
    return any(_names(each, *wanted) for each in ast.walk(node))


def _says_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Return):
        return statement.value is None or isinstance(statement.value, ast.Constant)
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Pass | ast.Continue)


_QUERIES = {
    "all",
    "filter",
    "exclude",
    "count",
    "exists",
    "first",
    "last",
    "aggregate",
    "annotate",
    "select_related",
}


def hidden_queries(root: Path) -> list[str]:
    return [
        source.at(node, f"{function.name} asks the database")
        for source in sources(root, *PRODUCT)
        for function in ast.walk(source.tree)
        if isinstance(function, ast.FunctionDef)
        and (
            function.name == "__str__"
            or any(_mentions(each, "property", "cached_property") for each in function.decorator_list)
        )
        for node in ast.walk(function)
        if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _QUERIES)
        or (isinstance(node, ast.Attribute) and node.attr == "objects")
    ]


# Text

_FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//"""
)
_MACHINE = re.compile(r"(?<![\w.])/(?:work|home|root|Users)/\w")
_ASSETS = (".woff", ".woff2", ".ttf", ".otf", ".eot", ".min.js", ".min.css", ".js.map")


def texts(root: Path) -> Iterator[tuple[Path, int, str]]:
    for path in files(root, TEXT):
        if path.suffix in {".py", ".html", ".css", ".js", ".md", ".toml", ".typ", ".json", ".po", ".txt", ""}:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                yield path.relative_to(root), number, line


def fetched(root: Path) -> list[str]:
    return [
        f"{path}:{number}: something is fetched from elsewhere when the page is shown"
        for path, number, line in texts(root)
        if path.suffix in {".html", ".css", ".js"} and _FETCHED.search(line)
    ]


def machine_paths(root: Path) -> list[str]:
    return [f"{path}:{number}: a path of one machine" for path, number, line in texts(root) if _MACHINE.search(line)]


def assets(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:1: somebody else's file" for path in files(root, TEXT) if path.name.endswith(_ASSETS)
    ]


def locked_hosts(root: Path) -> list[str]:
    return [
        f"requirements.lock:{number}: a host"
        for path in files(root, ("requirements.lock",))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "://" in line or re.match(r"\s*(-i|--.*(index|host|links))", line)
    ]


LAWS: dict[str, Callable[[Path], list[str]]] = {
    law.__name__: law
    for law in (
        *(import_directions, pure_core, names, lengths, floats, clocks, swallowed, hidden_queries),
        *(fetched, machine_paths, assets, locked_hosts),
    )
}


# Foreign keys, of the models themselves


def foreign_keys(found: list[type[models.Model]]) -> list[str]:
    """Nothing that money hangs on is deleted with something else, and billing knows neither users nor the marketplace."""
    breaches = []
    for model in found:
        for field in model._meta.get_fields():
            if not isinstance(field, models.ForeignKey):
                continue
            target = field.related_model._meta
            if (
                "billing" in (model._meta.app_label, target.app_label)
                and field.remote_field.on_delete is not models.PROTECT
            ):
                breaches.append(f"{model._meta.label}.{field.name} is not PROTECT")
            if model._meta.app_label == "billing" and target.app_label != "billing":
                breaches.append(f"{model._meta.label}.{field.name} reaches {target.label}, outside billing")
    return breaches
