"""Exercises that grade themselves: ``check``, ``hint``, ``progress`` and ``reset``, made for a notebook.

>>> from dnl_course.classroom import check
>>> check("01.9")
✗ 01.9: wrong. There is no task '01.9': the tasks are 01.1, 01.2, 01.3, 01.4, 01.5. Did you mean '01.5'?
"""

from .engine import check, hint, progress, reset, solved

__all__ = ["check", "hint", "progress", "reset", "solved"]
