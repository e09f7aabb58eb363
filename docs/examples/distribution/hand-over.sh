#!/bin/sh
# Hands a version to a host: the value comes on standard input, as JSON, and goes on to the host the same way.
# What ssh cannot tell for certain ends with a code of its own, which keyturn takes for "it may have happened".
exec "${SSH:-ssh}" -o BatchMode=yes -- "$1" \
    'umask 077 && cat > credential.new && mv credential.new credential.json && kill -HUP "$(cat pid)"'
