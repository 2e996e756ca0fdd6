"""One open table from a name to an update rule, for checkpoints, configurations, command lines.

The rules of this package register themselves where they are defined, and so does anyone else's:

    @register_rule("lion")
    class Lion(UpdateRule): ...

    rule = parse_rule("lion:lr=1e-4,betas=(0.9, 0.99)")

A rule that is registered can be built from its name and plain values, saved, and loaded again in
any program that has imported its module.
"""

from __future__ import annotations

import ast
import inspect
import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar, overload

from l2l_gail.checks import nearest, origin
from l2l_gail.core.rule import UpdateRule
from l2l_gail.errors import MISFITS, InputError, one_line

__all__ = [
    "build_rule",
    "builder_names",
    "parse_rule",
    "plain_config",
    "register_builder",
    "register_rule",
    "rule_name",
    "rule_names",
    "takes",
]

_RULES: dict[str, type[UpdateRule]] = {}
_LONGEST = 1_000  # characters of one rule on the command line
_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_BUILDERS: dict[str, Callable[..., UpdateRule]] = {}
"""Names that rules can be built by, and are not saved under."""

B = TypeVar("B", bound=Callable[..., UpdateRule])
R = TypeVar("R", bound=type[UpdateRule])


@overload
def register_rule(name: str) -> Callable[[R], R]: ...
@overload
def register_rule(name: str, rule: R) -> R: ...
def register_rule(name: str, rule: R | None = None) -> R | Callable[[R], R]:
    """Give a class of rules a name, as a decorator or as a call.

    Args:
        name: Lower-case words joined by underscores, such as ``"sign_descent"``.
        rule: A subclass of :class:`~l2l_gail.core.rule.UpdateRule` whose constructor takes plain
            values and hands all of them, or none, on to ``UpdateRule.__init__``. Without it the
            function returns a decorator.

    Returns:
        The class itself.

    Raises:
        InputError: If the name is not of that form, the class is no rule or has a name already, or
            another class has this name. The same class defined again (a notebook's cell run
            twice) takes the place of its former self.
    """
    if rule is None:
        return lambda decorated: register_rule(name, decorated)
    if not (isinstance(rule, type) and issubclass(rule, UpdateRule)):
        raise InputError(f"{rule!r} cannot be registered as {name!r}: not a subclass of UpdateRule")
    _check_free(name, rule)
    _RULES[name] = rule
    return rule


def register_builder(name: str) -> Callable[[B], B]:
    """Give a function that builds rules a name: a trained rule that is read from a file, say.

    Args:
        name: As in :func:`register_rule`. The rules that are built keep the name of their class,
            under which they are saved.

    Returns:
        A decorator for a function that takes keywords and returns a rule of a registered class.

    Raises:
        InputError: If the name is not of that form or taken, or the function has another.
    """

    def registered(builder: B) -> B:
        _check_free(name, builder)
        _BUILDERS[name] = builder
        return builder

    return registered


def _check_free(name: str, builder: Callable[..., UpdateRule]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise InputError(f"a rule's name is lower-case words joined by '_', not {name!r}")
    everyone: dict[str, Callable[..., UpdateRule]] = {**_RULES, **_BUILDERS}
    for taken, known in everyone.items():
        if (taken == name) != (origin(known) == origin(builder)):
            raise InputError(
                f"{origin(builder)[1]} cannot be registered as {name!r}: "
                f"{'.'.join(origin(known))} is registered as {taken!r}"
            )


def build_rule(name: str, **config: Any) -> UpdateRule:
    """Return a new rule by its registered name.

    Args:
        name: One of :func:`rule_names` or :func:`builder_names`.
        **config: The constructor's arguments, by keyword.

    Raises:
        InputError: For an unknown name, naming the nearest one, arguments that the rule does not
            take, or one with a number that is NaN or infinite.
    """
    rule = _find(name)
    accepted = _signature(rule)
    try:
        accepted.bind(**config)
    except TypeError as error:
        raise InputError(f"{name}: {error}; it takes {_arguments(accepted)}") from error
    try:
        built = rule(**config)
    except InputError:
        raise
    # A value of another kind or length raises whatever the constructor makes of it.
    except MISFITS as error:
        given = ", ".join(f"{key}={value!r}" for key, value in config.items())
        raise InputError(f"{name} cannot be built with {given}: {one_line(error)}") from error
    for key, value in built.config.items():
        if not _is_finite(value):
            raise InputError(f"{name}: {key} must be finite, not {value!r}")
    return built


def takes(name: str, argument: str) -> bool:
    """Return whether what builds a registered name takes an argument of that name, by keyword.

    Raises:
        InputError: For an unknown name.
    """
    parameters = _signature(_find(name)).parameters.values()
    return any(argument == p.name or p.kind == p.VAR_KEYWORD for p in parameters)


def parse_rule(text: str) -> UpdateRule:
    """Return a new rule from a command line's word: a name, or a name and its arguments.

    Args:
        text: ``"adam:lr=3e-4"``, ``"adam:lr=3e-4,betas=(0.5, 0.9)"``; values are Python literals.

    Raises:
        InputError: As :func:`build_rule`, and for text of another form.
    """
    name, _, arguments = text.partition(":")
    if len(text) > _LONGEST:
        raise InputError(
            f"{text[:40]!r}... has {len(text):,} characters: a rule has at most {_LONGEST:,}"
        )
    try:
        call = ast.parse(f"_({arguments})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("not one call with keywords alone")
        if None in [keyword.arg for keyword in call.keywords]:  # **something
            raise ValueError("a keyword without a name")
        config = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        if len(config) < len(call.keywords):
            raise ValueError("a keyword twice")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # nested too deep
        raise InputError(
            f"{text!r} is not a rule; write a name and its arguments, such as 'adam:lr=3e-4', "
            "values being numbers, True, False or tuples of numbers"
        ) from error
    return build_rule(name.strip(), **config)


def rule_names() -> list[str]:
    """Return the names of the registered classes, under which rules are saved, in order.

    ``build_rule`` and ``parse_rule`` know those of :func:`builder_names` besides, ``"pretrained"``
    among them: functions that build a rule of one of these classes.
    """
    return sorted(_RULES)


def builder_names() -> list[str]:
    """Return the names by which rules can be built but are not saved, in order."""
    return sorted(_BUILDERS)


def rule_name(rule: UpdateRule | type[UpdateRule]) -> str:
    """Return the name under which a rule's class is registered.

    Raises:
        InputError: If it is not.
    """
    cls = rule if isinstance(rule, type) else type(rule)
    for name, known in _RULES.items():
        # Of a notebook's cell that ran twice; what a function makes may differ under one name.
        again = origin(known) == origin(cls) and "<locals>" not in cls.__qualname__
        if known is cls or again:
            return name
    raise InputError(
        f"{cls.__name__} is not a registered rule; one that is built from plain values can be, "
        "with @register_rule('its_name') above its class"
    )


def plain_config(rule: UpdateRule) -> dict[str, Any]:
    """Return a rule's configuration, checked to be one that builds it again.

    Raises:
        InputError: If the rule is not registered, a value is not plain (``None``, a bool, a
            number, a string, or lists and dicts of them), the constructor does not take it, or an
            argument of the constructor is not there, so that its default would take its place.
    """
    name = rule_name(rule)
    config: dict[str, Any] = {}
    for key, value in rule.config.items():
        try:
            config[key] = plain = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            plain = NotImplemented
        if plain != value:
            raise InputError(
                f"{name}: its config's {key!r} is not a plain value but {value!r}; hand lists and "
                "numbers to UpdateRule.__init__"
            )
    signature = _signature(type(rule))
    try:
        signature.bind(**rule.config)
    except TypeError as error:
        raise InputError(
            f"{name}: its config does not build it ({error}); hand every argument of the "
            "constructor to UpdateRule.__init__"
        ) from error
    for parameter in signature.parameters.values():
        if parameter.kind not in _COLLECTING and parameter.name not in config:
            raise InputError(
                f"{name}: its constructor's argument {parameter.name!r} is not in its config, so "
                "that it would come back with another value: hand every argument, as a plain "
                "value, to UpdateRule.__init__"
            )
    return config


def _find(name: str) -> Callable[..., UpdateRule]:
    known: dict[str, Callable[..., UpdateRule]] = {**_RULES, **_BUILDERS}
    if name in known:
        return known[name]
    near = nearest(name.lower(), known)
    guess = f"; did you mean {near!r}?" if near else ";"
    raise InputError(f"unknown rule {name!r}{guess} Known: {', '.join(sorted(known))}")


def _signature(builder: Callable[..., UpdateRule]) -> inspect.Signature:
    """Return what builds a rule is called with; of a class, what its constructor takes.

    In early versions of Python 3.11 ``inspect`` would look at ``UpdateRule.__new__`` instead, which
    takes anything.
    """
    if not isinstance(builder, type):
        return inspect.signature(builder)
    signature = inspect.signature(builder.__init__)  # type: ignore[misc]
    return signature.replace(parameters=[*signature.parameters.values()][1:])


def _arguments(signature: inspect.Signature) -> str:
    return ", ".join(str(p).split(":")[0].split("=")[0] for p in signature.parameters.values())


def _is_finite(value: Any) -> bool:
    """Whether no number in a plain value is NaN or infinite."""
    if isinstance(value, list | tuple | dict):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)
