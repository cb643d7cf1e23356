"""The demo in the browser, `mtslvr demo --web`: teach it a few kinds of sound, see what it learned, try it, take it along."""

from mtslvr.web.page import serve

__all__ = ["serve"]
