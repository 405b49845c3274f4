# Between threads and between processes: queues, the loop, transports.
pa_library(pa_queue)
pa_library(pa_loop SOURCES clock.cc loop.cc signals.cc wakeup.cc DEPS pa_core)
pa_library(pa_segment SOURCES segment.cc segment_maps.cc segment_socket.cc DEPS pa_core)
pa_library(pa_transport SOURCES framing.cc transport.cc DEPS pa_segment pa_wire)
pa_library(pa_keys SOURCES allow_list.cc curve_keys.cc DEPS pa_core pa_yaml deps::libzmq)
pa_library(pa_zmq
  SOURCES allocator.cc run_directory.cc zap_handler.cc zmq_client.cc zmq_peers.cc zmq_server.cc
    zmq_socket.cc
  DEPS pa_endpoints pa_failpoint pa_keys pa_loop pa_transport deps::libzmq)
