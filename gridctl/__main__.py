"""`python -m gridctl`: the same as the `gridctl` command."""

from gridctl.entry import main

if __name__ == "__main__":
    main()
