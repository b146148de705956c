"""`python -m tests.bench.students cpu|gpu`."""

if __name__ == "__main__":
    from tests.bench.students.suite import main

    main()
