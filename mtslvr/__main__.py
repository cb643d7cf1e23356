"""python -m mtslvr"""

import sys

from mtslvr.cli import main

sys.exit(main())
