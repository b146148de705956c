"""`python -m tests.bench.stream`: light, since measured processes import it as well."""

if __name__ == "__main__":
    from tests.bench.stream.suite import main

    main()
