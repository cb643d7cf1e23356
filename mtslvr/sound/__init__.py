"""Sound: from whatever a user hands over to mono windows of 5 s at 16 kHz."""
