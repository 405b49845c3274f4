
pa_library(pa_free_tcp_address SOURCES free_tcp_address.cc DEPS pa_core)
