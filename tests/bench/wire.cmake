pa_benchmark(wire_bench SOURCES wire_bench.cc DEPS pa_zmq)
