"""What pipelines that other systems run share: how they hang together, which commits they read, and how their output becomes one."""
