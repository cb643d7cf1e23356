"""Around `mtslvr.detect`: events on disk, the background class, cutting events out, searching recordings."""
