"""`keyturn metrics`: printed, written and pushed; exact however short the commands were."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.cli.program import Folder

pytestmark = pytest.mark.slow


def values(text: str) -> dict[str, float]:
    """Return the values of an exposition, by name and labels as they are printed."""
    samples = (sample for metric in parsed(text) for sample in metric.samples)
    return {
        f"{sample.name}{{{','.join(f'{key}={label}' for key, label in sorted(sample.labels.items()))}}}": sample.value
        for sample in samples
    }


COMPLETED = "keyturn_rotations_total{env=default,outcome=completed,service=app-db,strategy=dual}"
BACK = "keyturn_rotations_total{env=default,outcome=rolled_back,service=app-db,strategy=dual}"


def test_every_command_adds_to_what_the_ones_before_counted(folder: Folder) -> None:
    """Each is a process of its own, and is gone when the metrics are asked for."""
    before = values(folder.ok("metrics").out)
    assert (before[COMPLETED], before[BACK]) == (0, 0)
    folder.settled("app-db")
    assert values(folder.ok("metrics").out)[COMPLETED] == 1
    folder.configure("app-db", faults="fail_verification")
    assert folder.run("rotate", "app-db").code == 3
    after = values(folder.ok("metrics").out)
    assert (after[COMPLETED], after[BACK]) == (1, 1)
    assert after["keyturn_rollbacks_total{env=default,service=app-db,type=automatic}"] == 1
    events = sum(value for name, value in after.items() if name.startswith("keyturn_log_events_total"))
    assert events == folder.head()


def test_without_its_view_the_numbers_are_the_same(folder: Folder) -> None:
    """It is folded again from the log."""
    folder.settled("app-db")
    before = values(folder.ok("metrics").out)
    for path in folder.state.glob("views.db*"):
        path.unlink()
    after = values(folder.ok("metrics").out)
    moment = "keyturn_exposed_timestamp_seconds{}"
    assert {**after, moment: 0} == {**before, moment: 0}


def test_a_file_gets_what_would_be_printed(folder: Folder) -> None:
    folder.settled("app-db")
    done = folder.ok("metrics", "--textfile", "keyturn.prom")
    assert (done.out, done.err) == ("", "keyturn.prom holds the metrics of now.\n")
    assert set(values((folder.path / "keyturn.prom").read_text())) == set(values(folder.ok("metrics").out))


def test_the_format_can_be_chosen(folder: Folder) -> None:
    assert folder.ok("metrics", "--format", "openmetrics").out.endswith("# EOF\n")
    assert "# EOF" not in folder.ok("metrics", "--format", "text").out


def test_as_json_every_sample_has_its_labels(folder: Folder) -> None:
    document = folder.ok("metrics", "--json").document
    assert list(document) == ["schema", "metrics"]
    build = next(each for each in document["metrics"] if each["name"] == "keyturn_build_info")
    assert build["type"] == "gauge"
    (sample,) = build["samples"]
    assert (sample["name"], list(sample["labels"]), sample["value"]) == ("keyturn_build_info", ["version"], 1)


def test_the_configuration_labels_every_series_and_adds_the_names_of_dsops(folder: Folder) -> None:
    folder.configure("app-db", more="metrics: {prometheus: {labels: {team: platform}}, compat: dsops}\n")
    printed = values(folder.ok("metrics").out)
    assert printed["dsops_rotation_started_total{environment=default,service=app-db,strategy=dual,team=platform}"] == 0
    assert not [name for name in printed if "team=platform" not in name]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--push", "http://keyturn:canary-1@127.0.0.1:9"), 2, "a login stands in the URL"),
        (("--push", "127.0.0.1:9091"), 2, "http://HOST:PORT"),
        (("--push", "file:///etc/passwd"), 2, "http://HOST:PORT"),
        (("--push", "http://127.0.0.1:x"), 2, "this is no URL"),
        (("--push", "http://127.0.0.1:9"), 4, "pushing metrics to http://127.0.0.1:9"),
        (("--textfile", "missing/keyturn.prom"), 2, "No such file or directory"),
        (("--textfile", "keyturn.prom", "--format", "openmetrics"), 2, "files and gateways take text"),
    ],
)
def test_what_cannot_be_done_is_refused(folder: Folder, arguments: tuple[str, ...], code: int, said: str) -> None:
    """A login in a URL is not repeated."""
    done = folder.run("metrics", *arguments)
    done.refused(code, said)
    assert "canary" not in done.err


def test_metrics_of_nothing_are_refused(folder: Folder) -> None:
    """A state folder without a log is another one than was meant."""
    done = folder.run("metrics", "--state", str(folder.path / "elsewhere"))
    assert done.code != 0
    assert not done.out
