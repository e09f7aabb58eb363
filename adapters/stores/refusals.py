"""Why an encrypted file is not opened: five causes that a person must be able to tell apart.

Rule: nothing but the error classes lives here, so that naming one loads no cryptography.
"""

from __future__ import annotations

from engine.errors import OwnLoginRejected, Rejected


class WrongKey(OwnLoginRejected):
    """{what}: {why}.

    The file is whole; it was sealed with another key than the one that was given.
    """

    hint = "Give the key that belongs to this file; without it nobody can open it."


class TornFile(Rejected):
    """{what}: {why}.

    The file ends before the length that it announces: a copy that was cut short.
    """

    hint = "keyturn never leaves such a file; fetch it again from where it was copied, or from a backup."


class TamperedFile(Rejected):
    """{what}: {why}.

    The bytes are not those that were written with this key: changed, or damaged.
    """

    hint = "Do not trust this file; restore it from a backup and find out who, or which disk, changed it."


class NotAStore(Rejected):
    """{what}: {why}.

    The file does not begin as an encrypted file of keyturn does.
    """

    hint = "The path of the store names some other file; it was left as it is."


class NewerFormat(Rejected):
    """{what}: {why}.

    A newer keyturn wrote the file.
    """

    hint = "Use the version of keyturn that wrote the file, or a newer one."
