"""`python -m gateway` is `venue-gateway`."""

from gateway.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
