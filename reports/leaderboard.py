"""The leaderboard: `board` makes its rows, the other names write them down."""

from __future__ import annotations

from creditbench.reports.board import BoardRow as BoardRow
from creditbench.reports.board import board as board
from creditbench.reports.costs import costs as costs
from creditbench.reports.page import page as page
from creditbench.reports.page import write_page as write_page
from creditbench.reports.rows import json_rows as json_rows
from creditbench.reports.terminal import terminal as terminal
