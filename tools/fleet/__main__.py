# SPDX-License-Identifier: Apache-2.0
"""`python3 tools/fleet up ...` from any directory."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from fleet.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
