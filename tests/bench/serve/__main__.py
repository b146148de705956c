"""`python -m tests.bench.serve`."""

if __name__ == "__main__":
    from tests.bench.serve.suite import main

    main()
