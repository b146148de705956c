"""`python -m tests.bench.generators`."""

if __name__ == "__main__":
    from tests.bench.generators.suite import main

    main()
