"""Moving all of a home to other backends, and coming from Pachyderm."""
