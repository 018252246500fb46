"""`python -m outpaint_engine` is the command `outpaint`."""

from .cli import main

if __name__ == "__main__":
    main()
