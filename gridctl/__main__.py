"""`python -m gridctl`: the same as the `gridctl` command."""

from gridctl.cli import main

if __name__ == "__main__":
    main()
