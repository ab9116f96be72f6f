"""`python -m pachyderm_dagster` is the command line too."""

import sys

from pachyderm_dagster.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
