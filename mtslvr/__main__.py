"""python -m mtslvr"""

import sys

from mtslvr.cli.parser import main

sys.exit(main())
