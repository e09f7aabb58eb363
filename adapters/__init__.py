"""Everything that touches the world: each driver, file, socket and terminal is behind one adapter."""
