"""The database: one writer, one module per subject, numbered schemas."""
