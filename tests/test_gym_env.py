"""Environments made by Gymnasium: what is refused, in one line each."""

from __future__ import annotations

import pytest

from l2l_gail.errors import InputError
from l2l_gail.gym_env import check_env_id, make_env, parse_env_kwargs


@pytest.mark.parametrize(
    ("env_id", "meant"),
    [("Hoper-v5", "Hopper-v5"), ("hopper-v5", "Hopper-v5"), ("HalfCheeta-v5", "HalfCheetah-v5")],
)
def test_unknown_id_names_the_nearest(env_id: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"unknown environment '{env_id}'.*meant '{meant}'"):
        check_env_id(env_id)


def test_id_that_nothing_is_near_to() -> None:
    with pytest.raises(InputError, match="unknown environment 'qqqqq'"):
        check_env_id("qqqqq")
    with pytest.raises(InputError, match="module 'no_such_module' cannot be imported"):
        check_env_id("no_such_module:Foo-v0")


@pytest.mark.parametrize(
    ("env_id", "kwargs", "pattern"),
    [
        ("Hopper-v5", {"wings": 2}, "wings"),
        ("Hopper-v5", {"xml_file": "/nowhere/hopper.xml"}, "does not exist"),
        ("CartPole-v1", {}, "action space Discrete"),
    ],
)
def test_environments_that_cannot_be_used(env_id: str, kwargs: dict, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        make_env(env_id, kwargs)
    assert "\n" not in str(caught.value)


def test_environment_arguments_from_the_command_line() -> None:
    parsed = parse_env_kwargs(["a=False", "b=0.5", "c=hopper.xml", "d=(1, 2)", "e=x=y", "f="])
    assert parsed == {"a": False, "b": 0.5, "c": "hopper.xml", "d": (1, 2), "e": "x=y", "f": ""}
    for wrong in ("a", "=1", "a b=1"):
        with pytest.raises(InputError, match="write name=value"):
            parse_env_kwargs([wrong])
