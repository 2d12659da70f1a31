"""python -m essim.score"""

import sys

from essim.score.scan import main

if __name__ == "__main__":
    sys.exit(main())
