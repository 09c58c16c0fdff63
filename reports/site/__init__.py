"""The leaderboard as a static site: pages that work from the file system, with no server and no network.

evidence    what a page says beyond the board: curves, records and where they lie, audits
places      file names for pages: safe and distinct, whatever a rule calls itself
tables      board rows as the data of a page's table
curves      learning curves with bands, of one group of cells
audits      the matrix of verdicts, and the figures behind each
build       all of it written as one folder

`../templates/site/` has the pages, `../assets/` style and script, `../vendor/` the libraries they stand on.
"""
