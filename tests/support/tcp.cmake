
pa_library(pa_free_tcp_address SOURCES free_tcp_address.cc DEPS pa_core)
pa_library(pa_tcp_proxy SOURCES tcp_proxy.cc DEPS pa_free_tcp_address)
