"""Pipeline specs, datums, plans, jobs."""
