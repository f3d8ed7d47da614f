"""Entry point of `python -m sandbox`: gevent patches the standard library before other imports."""

import sys

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()
    from sandbox.cli import main

    sys.exit(main(sys.argv[1:]))
