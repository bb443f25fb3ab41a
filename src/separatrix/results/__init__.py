"""What every instrument returns: one schema of labelled data, with status, provenance, memory budget and progress."""
