"""python -m essim.train"""

import sys

from essim.train.loop import main

if __name__ == "__main__":
    sys.exit(main())
