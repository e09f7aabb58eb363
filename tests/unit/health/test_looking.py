"""Looking is timed, ends in a sample whatever happens, and tells one line without secrets."""

from __future__ import annotations

import time

import pytest

from adapters.health.looking import Found, Looking, NotSeen, OutOfReach, judged, usable
from engine.health import TEXT_BYTES_MAX, CheckResult, HealthCheck, Sample, Subject
from engine.values import CredentialValue, Form, Secret


def subject(secret: str = "canary-new", *, form: Form = Form.PLAIN) -> Subject:
    new, old = CredentialValue("app_b", Secret(secret), form), CredentialValue("app_a", Secret("canary-old"))
    return Subject("app", "production", new_version="v2", old_version="v1", new=new, old=old)


def looked(error: Exception | None = None, found: Found | None = None) -> Sample:
    def see(_: Subject) -> Found:
        if error is not None:
            raise error
        assert found is not None
        return found

    check = Looking("mine", "s", see)
    assert isinstance(check, HealthCheck)
    return check.look(subject())


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (OutOfReach("no answer"), CheckResult.FAIL),
        (NotSeen("no replica"), CheckResult.UNKNOWN),
        (ModuleNotFoundError("no", name="psycopg"), CheckResult.UNKNOWN),
    ],
)
def test_what_is_not_measured_is_a_sample_without_a_value(error: Exception, result: CheckResult) -> None:
    sample = looked(error)
    assert (sample.result, sample.value, sample.unit) == (result, None, "")
    assert sample.text


def test_a_driver_that_is_missing_is_named() -> None:
    assert looked(ModuleNotFoundError("no", name="psycopg")).text == "the Python package 'psycopg' is not installed"


def test_looking_is_timed() -> None:
    def see(_: Subject) -> Found:
        began = time.monotonic_ns()
        while time.monotonic_ns() - began < 5_000_000:
            pass
        return Found(CheckResult.PASS, "", 0.0)

    sample = Looking("mine", "ratio", see).look(subject())
    assert sample.duration >= 5_000
    assert (sample.value, sample.unit) == (0.0, "ratio")


def test_the_text_is_one_line_without_the_values() -> None:
    text = looked(found=Found(CheckResult.WARN, "a\nb \x1b[31m canary-new canary-old")).text
    assert text == "a b [31m … …"


def test_the_text_is_cut_at_its_longest_and_never_inside_a_character() -> None:
    text = looked(found=Found(CheckResult.PASS, "é" * TEXT_BYTES_MAX + "x")).text
    assert text == "é" * (TEXT_BYTES_MAX // 2)


@pytest.mark.parametrize(
    ("value", "warn", "fail", "result"),
    [
        (1.0, None, None, CheckResult.PASS),
        (1.0, 1.0, 1.0, CheckResult.PASS),
        (1.1, 1.0, None, CheckResult.WARN),
        (1.1, 1.0, 1.1, CheckResult.WARN),
        (1.2, 1.0, 1.1, CheckResult.FAIL),
        (0.1, None, 0.0, CheckResult.FAIL),
    ],
)
def test_a_bound_may_be_reached_and_not_exceeded(
    value: float, warn: float | None, fail: float | None, result: CheckResult
) -> None:
    assert judged(value, warn=warn, fail=fail) is result


@pytest.mark.parametrize(
    "given",
    [
        Subject("app", "production"),
        Subject("app", "production", new=CredentialValue("app", None)),
        subject(form=Form.VERIFIER),
    ],
)
def test_nobody_logs_in_without_a_value_in_the_clear(given: Subject) -> None:
    with pytest.raises(NotSeen):
        usable(given)
    assert usable(subject()).username == "app_b"
