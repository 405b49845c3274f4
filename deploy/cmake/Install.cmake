# What `cmake --install` puts where: programs, configuration, demo model, licence.

set(CMAKE_INSTALL_DOCDIR share/doc/parallelanything CACHE PATH "Licence.")
include(GNUInstallDirs)

get_property(programs GLOBAL PROPERTY PA_PROGRAMS)
if(programs)
  install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY config/ DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/parallelanything
  FILES_MATCHING PATTERN *.yaml PATTERN models EXCLUDE)
install(DIRECTORY config/models DESTINATION ${CMAKE_INSTALL_DATADIR}/parallelanything
  FILES_MATCHING PATTERN *.yaml PATTERN *.safetensors)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
