"""`python -m sandbox`: gevent first, so that everything imported after it yields."""

import sys

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()
    from sandbox.cli import main

    sys.exit(main(sys.argv[1:]))
