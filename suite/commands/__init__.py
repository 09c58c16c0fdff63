"""One file per command of the command line: `add` declares its words, the rest carries it out."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # what `add` adds to
