"""The configuration that `keyturn init` writes: it runs as it is, and shows the way to the first real service.

Rule: a test loads it, and the part in comments too, so that neither falls behind.
"""

from __future__ import annotations

from typing import Final

COMMENTED: Final = """\
  # A PostgreSQL database whose logins app_a and app_b take turns, so that one of them always works.
  # To use it, remove the "# " that the lines begin with; docs/how-to tells how the roles are made.
  #
  # app-db:
  #   type: postgresql
  #   environment: production
  #   host: db.internal
  #   port: 5432
  #   database: app
  #   tls: verify-full
  #   admin_credentials: {username: keyturn, password: env://KEYTURN_ADMIN_PASSWORD}
  #   credential: {username: app, store: local, key: production/app-db}
  #   publish:                   # written whenever a version becomes current
  #     - store: dotenv
  #       key: DATABASE_URL
  #       template: "postgresql://{{ username|urlencode }}:{{ password|urlencode }}@{{ host }}/{{ database }}"
  #   rotation: {strategy: alternating, usernames: [app_a, app_b], ttl: 30d, grace_period: 24h}
"""


def starter() -> str:
    """Return the commented configuration; `./master.key` is the key file that `init` makes beside it."""
    return f"""\
# keyturn.yaml: which credentials are rotated, and how. Relative paths start at the folder of this file.
# keyturn config check says what is wrong with it; docs/reference/configuration.md explains every key.
version: 1

secretStores:
  # Where the versions are held. Keep master.key out of version control, and a copy of it in a safe place.
  local: {{type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}}
  # A file that an application reads: it gets the current version only.
  dotenv: {{type: env-file, path: ./app.env}}

services:
  # A rehearsal: a target that lives in the state folder and refuses wrong values like a real one.
  # Try it: keyturn rotate rehearsal
  rehearsal:
    type: memory
    credential: {{username: app, store: local, key: default/rehearsal}}
    publish:
      - {{store: dotenv, key: REHEARSAL_PASSWORD}}
    rotation: {{strategy: dual, ttl: 30d, grace_period: 1h}}

{COMMENTED}"""
