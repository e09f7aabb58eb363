"""`keyturn config check` tells what would keep the health checks from looking, by the key that it is about."""

from __future__ import annotations

from tests.cli.program import Folder

CHECKS = """\
      health_checks:
        enabled: {enabled}
        checks:
          - {{type: http_endpoint, url: "https://app.internal/", tls_root: ca.pem}}
        custom_scripts:
          - {{name: cache, script: ./look}}
"""
HERE = "services.app-db.rotation.health_checks"


def problems(folder: Folder) -> dict[str, str]:
    """Return what is wrong, by its key."""
    told = folder.run("config", "check", "--json")
    assert (told.code == 0) == told.document["ok"]
    assert "ca.pem" not in told.err
    return {each["key"]: each["message"] for each in told.document["problems"]}


def test_what_would_keep_a_check_from_looking_is_told_with_its_key(folder: Folder) -> None:
    folder.configure("app-db", more=CHECKS.format(enabled="true"))
    script, root = folder.path / "look", folder.path / "ca.pem"
    told = problems(folder)
    assert told == {
        f"{HERE}.checks[0].tls_root": f"there is no {root}.",
        f"{HERE}.custom_scripts[0].script": f"there is no {script}.",
    }
    shown = folder.run("config", "check")
    assert (shown.code, f"{HERE}.custom_scripts[0].script: there is no {script}." in shown.err + shown.out) == (2, True)
    root.touch()
    script.write_text("exit 0\n")
    assert problems(folder) == {f"{HERE}.custom_scripts[0].script": f"{script} is not executable: chmod +x {script}."}
    script.chmod(0o755)
    assert "no #! line" in problems(folder)[f"{HERE}.custom_scripts[0].script"]
    script.write_text("#!/bin/sh\nexit 0\n")
    assert problems(folder) == {}


def test_checks_that_are_off_are_not_looked_at(folder: Folder) -> None:
    folder.configure("app-db", more=CHECKS.format(enabled="false"))
    assert problems(folder) == {}
