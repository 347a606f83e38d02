"""`python -m cli`, the same as `parley`."""

from cli.app import main

main()
