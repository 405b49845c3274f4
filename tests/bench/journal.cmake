pa_benchmark(journal_bench SOURCES journal_bench.cc DEPS pa_cli)
