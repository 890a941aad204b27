"""Own `python -m kith`, which is the `kith` command."""

from kith.cli import main

if __name__ == "__main__":
    main(prog_name="kith")
