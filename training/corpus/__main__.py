"""python -m training.corpus SOURCE OUT: see reader.py."""

from training.corpus.reader import main

main()
