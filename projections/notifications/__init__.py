"""Who hears what of the log, and in which words. It never decides, and sends nothing."""
