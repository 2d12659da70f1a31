"""python -m essim.prepare"""

import sys

from essim.prepare.folder import main

if __name__ == "__main__":
    sys.exit(main())
