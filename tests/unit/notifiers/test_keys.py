"""Every key of every channel has a test that fails where the key is ignored: which one stands here, and nowhere else.

That each of them does fail is shown by tests/unit/notifiers/ignoring.py, by hand.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from adapters.registry import NOTIFIER_GROUP, SHIPPED, notifier_adapter
from tests.architecture.source import ROOT
from tests.unit.config.test_planning import leaves

_SENT: Final = "tests/integration/notifiers"
_MADE: Final = "tests/unit/notifiers"
_RETRIES: Final = f"{_MADE}/test_webhook_options.py::test_retries_are_told_to_whoever_sends"
_BASIC: Final = f"{_SENT}/test_webhook.py::test_a_name_and_a_password_are_sent_as_basic"
_CUSTOM: Final = f"{_SENT}/test_webhook.py::test_a_secret_is_sent_in_a_header_of_any_name"
_LOGIN: Final = f"{_SENT}/test_mail.py::test_a_mail_arrives_as_it_was_written_over_starttls"
_BCC: Final = f"{_SENT}/test_mail.py::test_bcc_stands_in_the_envelope_alone"
_IN_A_MAIL: Final = f"{_SENT}/test_mail.py::test_what_is_configured_of_a_mail_is_in_it"
_MENTIONS: Final = f"{_MADE}/test_slack_messages.py::test_people_are_mentioned_when_something_failed_or_goes_back"
_THREADS: Final = f"{_SENT}/test_slack.py::test_a_bot_keeps_one_thread_a_rotation_and_its_first_message_up_to_date"
_NAMES: Final = f"{_MADE}/test_pagerduty_events.py::test_names_and_links_are_configured"

KEYS: Final = {
    "file.path": f"{_SENT}/test_file.py::test_it_is_a_notifier_of_a_path_beside_the_configuration",
    "slack.webhook_url": f"{_SENT}/test_slack.py::test_a_webhook_posts",
    "slack.token": _THREADS,
    "slack.channel": _THREADS,
    "slack.api_url": _THREADS,
    "slack.mentions.on_failure": _MENTIONS,
    "slack.mentions.on_rollback": _MENTIONS,
    "slack.mention_ids": _MENTIONS,
    "slack.timeout": f"{_SENT}/test_slack.py::test_a_timeout_is_kept_to",
    "pagerduty.integration_key": f"{_SENT}/test_pagerduty.py::test_the_key_is_in_the_body_alone",
    "pagerduty.severity": (
        f"{_MADE}/test_pagerduty_events.py"
        "::test_the_severity_of_a_failure_is_configured_and_that_of_a_failed_rollback_is_critical"
    ),
    "pagerduty.auto_resolve": f"{_MADE}/test_pagerduty_events.py::test_without_auto_resolve_alerts_stay_open",
    "pagerduty.service_name": _NAMES,
    "pagerduty.group": _NAMES,
    "pagerduty.client_url": _NAMES,
    "pagerduty.region": f"{_SENT}/test_pagerduty.py::test_the_region_says_where_events_go",
    "pagerduty.url": f"{_SENT}/test_pagerduty.py::test_a_failure_opens_an_alert_and_the_next_success_resolves_it",
    "pagerduty.timeout": f"{_SENT}/test_pagerduty.py::test_a_timeout_is_kept_to",
    "email.smtp.host": _LOGIN,
    "email.smtp.port": _LOGIN,
    "email.smtp.username": _LOGIN,
    "email.smtp.password": _LOGIN,
    "email.smtp.tls": f"{_SENT}/test_mail.py::test_a_mail_arrives_over_implicit_tls",
    "email.smtp.ca_file": _LOGIN,
    "email.smtp.timeout": f"{_SENT}/test_mail_faults.py::test_silence_before_the_end_of_the_mail_is_unavailable",
    "email.smtp.helo": _IN_A_MAIL,
    "email.from": f"{_SENT}/test_mail.py::test_a_mail_arrives_in_the_clear_where_that_is_accepted",
    "email.to": _BCC,
    "email.cc": _BCC,
    "email.bcc": _BCC,
    "email.reply_to": _IN_A_MAIL,
    "email.subject_prefix": _IN_A_MAIL,
    "email.batch_mode": f"{_MADE}/test_mail_options.py::test_batches_are_told_to_whoever_sends",
    "webhook.url": f"{_SENT}/test_webhook.py::test_a_message_is_verified_by_its_receiver",
    "webhook.method": f"{_SENT}/test_webhook.py::test_the_method_is_the_configured_one",
    "webhook.headers": f"{_SENT}/test_webhook.py::test_headers_are_sent_as_they_are_filled",
    "webhook.auth.type": _BASIC,
    "webhook.auth.token": f"{_SENT}/test_webhook.py::test_a_token_is_sent_as_bearer",
    "webhook.auth.username": _BASIC,
    "webhook.auth.password": _BASIC,
    "webhook.auth.header": _CUSTOM,
    "webhook.auth.value": _CUSTOM,
    "webhook.signing_secret": f"{_SENT}/test_webhook.py::test_a_message_is_verified_by_its_receiver",
    "webhook.previous_signing_secret": (
        f"{_SENT}/test_webhook.py::test_while_the_signing_secret_is_replaced_both_verify"
    ),
    "webhook.format": f"{_SENT}/test_webhook.py::test_the_flat_body_arrives",
    "webhook.payload_template": f"{_SENT}/test_webhook.py::test_a_template_is_the_whole_body",
    "webhook.content_type": f"{_MADE}/test_webhook_messages.py::test_a_content_type_of_its_own_is_kept",
    "webhook.timeout": f"{_SENT}/test_webhook.py::test_the_timeout_is_kept_to",
    "webhook.retry.max_attempts": _RETRIES,
    "webhook.retry.backoff": _RETRIES,
    "webhook.retry.initial": _RETRIES,
    "webhook.retry.max": _RETRIES,
    "webhook.allow_http": f"{_SENT}/test_webhook.py::test_a_message_is_verified_by_its_receiver",
    "webhook.allow_private": f"{_SENT}/test_webhook.py::test_a_message_is_verified_by_its_receiver",
    "webhook.ca_file": f"{_SENT}/test_webhook.py::test_a_name_is_reached_over_tls_with_certificates_of_ones_own",
    "apprise.url": f"{_SENT}/test_apprise.py::test_a_notice_arrives_as_title_body_and_type",
    "apprise.urls": f"{_SENT}/test_apprise.py::test_who_took_a_message_does_not_get_it_again",
    "apprise.timeout": f"{_SENT}/test_apprise.py::test_a_service_that_does_not_answer_is_not_waited_for",
}
"""The keys of the channels, with their kind before them, and where each is tested.

`name` and `events`, which every channel has, are tested in tests/unit/config/test_channels.py.
"""


def test_no_key_of_a_channel_is_without_its_test() -> None:
    """A key that is added to the options fails here until somebody shows that it is honoured."""
    every = {f"{kind}.{key}" for kind in SHIPPED[NOTIFIER_GROUP] for key in leaves(notifier_adapter(kind).options)}
    assert set(KEYS) == every


@pytest.mark.parametrize("test", sorted(set(KEYS.values())))
def test_the_tests_of_keys_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    defined = [each.name for each in ast.parse(Path(ROOT, file).read_text()).body if isinstance(each, ast.FunctionDef)]
    assert name in defined
