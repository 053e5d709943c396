"""One fault a file, patched into the gateway's own process. Each runs as a script in the gateway's place."""
