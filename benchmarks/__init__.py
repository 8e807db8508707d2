"""What the README's figures come from: one module a part, each with `run(progress) -> dict`. Run by `make bench`."""
