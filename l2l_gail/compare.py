"""``python -m l2l_gail.compare`` is ``python -m l2l_gail.comparison``."""

from __future__ import annotations

from l2l_gail.comparison.__main__ import compare, main

__all__ = ["compare", "main"]

if __name__ == "__main__":
    from l2l_gail.cli import run_main

    run_main(main)
