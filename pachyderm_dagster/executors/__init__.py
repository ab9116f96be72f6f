"""Where a job's datums run."""
