"""`python -m rerank_cli` is `rerank`."""

from rerank_cli.cli.main import run

if __name__ == "__main__":
    run()
