"""What `keyturn demo` runs against: real servers that are thrown away afterwards."""
