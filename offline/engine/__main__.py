"""`python -m offline.engine`: asks vLLM whether it takes some engine settings; JSON in, JSON out."""

from __future__ import annotations

import json
import os
import sys

from offline.engine.adapter import check

if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        print("""example: echo '{"dtype": ["float32"]}' | python -m offline.engine""")
    else:
        with os.fdopen(os.dup(1), "w") as answer:
            os.dup2(2, 1)  # vLLM logs to stdout
            answer.write(json.dumps(check(json.load(sys.stdin))))
