"""`python -m allatt`: the command line of `allatt.cli.main`."""

import sys

from allatt.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
