"""Other model servers with our model: one small file each, run in an environment of its own."""

JOB = "KINDLING_BENCH_PEER"
"""Environment variable with the path of the job: `{"model", "port", "inputs", "outputs"}`, specs last."""
