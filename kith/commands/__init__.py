"""The commands of `kith`, one module for each subject; `kith.cli` lists them."""
