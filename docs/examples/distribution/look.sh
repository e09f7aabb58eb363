#!/bin/sh
# Prints the report of the application on a host; `./report CHALLENGE` there answers as its HTTP report would.
exec "${SSH:-ssh}" -o BatchMode=yes -- "$1" "./report $KEYTURN_CHALLENGE"
