"""Makes the relative links of a notebook hold where the notebook is moved to: ``work/``, or a page of ``build/course``.

A lesson says ``../exercises/01_non_local_means.ipynb``; in the learner's copy that has to be the learner's exercise.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

LINK = re.compile(r"""(?P<before>\]\(|\b(?:href|src)=["'])(?P<path>(?![a-zA-Z][a-zA-Z0-9+.-]*:|[#/])[^)"'\s#]+)""")


def relink(text: str, source: str, target: str, moved: Callable[[str], str]) -> str:
    """Rewrite the relative links of a Markdown text.

    Parameters
    ----------
    text : str
        The Markdown, links of embedded HTML included.
    source, target : str
        The folders, relative to the repository's root, that the text comes from and goes to.
    moved : callable
        Maps a file's path in the repository to the path that a reader should get instead (both from the root).

    Returns
    -------
    str
        The text; links with a scheme, to a heading or to an absolute path stay as they are.

    Examples
    --------
    >>> relink("[01](../exercises/01.ipynb#a)", "notebooks", "work", lambda path: "work/" + path)
    '[01](exercises/01.ipynb#a)'
    """

    def new(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(source, match["path"]))
        if path.startswith(".."):
            return match[0]
        return match["before"] + posixpath.relpath(moved(path), target)

    return LINK.sub(new, text)
