# Included by the root: what is installed besides programs and libraries, in the components `weir` (who
# runs it) and `weir-dev` (who writes policies), and their Debian packages (cpack -G DEB).
#
# The build tree has the same shape as an install prefix, so that authors can work against either.
set(config ${CMAKE_BINARY_DIR}/lib/cmake/WeirPlugin)
configure_file(sdk/cmake/WeirPluginConfig.cmake ${config}/WeirPluginConfig.cmake COPYONLY)
configure_file(sdk/cmake/WeirPlugin.cmake ${config}/WeirPlugin.cmake COPYONLY)
file(CONFIGURE OUTPUT ${config}/WeirPluginBuild.cmake CONTENT
    "# How the weir beside this file was built.\nset(WeirPlugin_SANITIZED \"@WEIR_SANITIZE@\")\n" @ONLY)
write_basic_package_version_file(${config}/WeirPluginConfigVersion.cmake
    COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT)
configure_file(sdk/weir-plugin.pc.in lib/pkgconfig/weir-plugin.pc @ONLY)
# A test's executable finds the kit where pkg-config found it, installed for all or not.
function(weir_pkg_config name description libraries)
    if(WEIR_SANITIZE)
        string(APPEND libraries " -fsanitize=${WEIR_SANITIZE}")
    endif()
    configure_file(sdk/library.pc.in lib/pkgconfig/weir-${name}.pc @ONLY)
endfunction()
weir_pkg_config(testkit "Tests of policies for the weir API gateway, without a gateway"
    "-Wl,-rpath,\${libdir} -lweir_testkit")
weir_pkg_config(bodies "JSON, form, multipart and compressed bodies in policies for weir"
    "-lweir_bodies -lz")
weir_pkg_config(redis "A Redis client for policies for weir" "-lweir_redis -lhiredis")

# weir_beside(place source): the build tree has at `place` what the source tree has in sdk/.
function(weir_beside place source)
    get_filename_component(folder ${CMAKE_BINARY_DIR}/${place} DIRECTORY)
    file(MAKE_DIRECTORY ${folder})
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/sdk/${source} ${CMAKE_BINARY_DIR}/${place} SYMBOLIC)
endfunction()
weir_beside(include/weir include/weir)
weir_beside(include/weir_testkit.h testkit/weir_testkit.h)
weir_beside(include/weir_testkit_peers.h testkit/weir_testkit_peers.h)
weir_beside(share/weir/template template)
weir_beside(share/weir/examples examples)

install(DIRECTORY ${CMAKE_BINARY_DIR}/lib/pkgconfig ${CMAKE_BINARY_DIR}/lib/cmake
    DESTINATION lib COMPONENT weir-dev)
install(DIRECTORY sdk/include/weir DESTINATION include COMPONENT weir-dev)
install(FILES sdk/testkit/weir_testkit.h sdk/testkit/weir_testkit_peers.h
    DESTINATION include COMPONENT weir-dev)
foreach(folder template examples)
    if(EXISTS ${CMAKE_SOURCE_DIR}/sdk/${folder})
        # What an author's tools leave behind is not ours to ship.
        install(DIRECTORY sdk/${folder} DESTINATION share/weir COMPONENT weir-dev
            REGEX "/(build|target|__pycache__)$" EXCLUDE)
    endif()
endforeach()
# The pages keep their place to each other, and what they point at is beside them.
set(pages share/doc/weir/sdk)
file(GLOB found CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/sdk sdk/*.md sdk/testkit/*.md
    sdk/abi/*.md sdk/abi/*.lock)
foreach(page ${found})
    get_filename_component(folder ${page} DIRECTORY)
    install(FILES sdk/${page} DESTINATION ${pages}/${folder} COMPONENT weir-dev)
endforeach()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/pages)
file(CREATE_LINK ../../../weir/examples ${CMAKE_BINARY_DIR}/pages/examples SYMBOLIC)
file(CREATE_LINK ../../../weir/template ${CMAKE_BINARY_DIR}/pages/template SYMBOLIC)
file(CREATE_LINK ../../../../include ${CMAKE_BINARY_DIR}/pages/include SYMBOLIC)
install(FILES ${CMAKE_BINARY_DIR}/pages/examples ${CMAKE_BINARY_DIR}/pages/template
    ${CMAKE_BINARY_DIR}/pages/include DESTINATION ${pages} COMPONENT weir-dev)

if(EXISTS ${CMAKE_SOURCE_DIR}/conf)
    install(DIRECTORY conf/ DESTINATION share/weir)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_VENDOR "the weir project")
set(CPACK_PACKAGE_CONTACT "The weir project <maintainers@weir.invalid>"
    CACHE STRING "maintainer of the Debian packages")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL weir weir-dev)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
# Debian's own finish: see there.
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/sdk/cmake/debian.cmake)
set(CPACK_WEIR_SOURCE ${CMAKE_SOURCE_DIR})
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_WEIR_PACKAGE_NAME weir)
set(CPACK_DEBIAN_WEIR_PACKAGE_SECTION net)
set(CPACK_COMPONENT_WEIR_DESCRIPTION "API gateway whose policies are plugins\n\
A small core owns connections, routing and upstreams; every policy (key-auth, jwt,\n\
rate-limiting, cors and others) is a plugin of its own. It takes Kong's declarative\n\
configuration as it stands, reloads it and swaps builds of plugins under traffic.")
set(CPACK_DEBIAN_WEIR_PACKAGE_SUGGESTS "weir-dev, redis-server")
set(CPACK_DEBIAN_WEIR-DEV_PACKAGE_NAME weir-dev)
set(CPACK_DEBIAN_WEIR-DEV_PACKAGE_SECTION devel)
set(CPACK_COMPONENT_WEIR-DEV_DESCRIPTION "development kit for policies of the API gateway weir\n\
Headers, a test kit, CMake and pkg-config files, templates, examples and pages, and\n\
the tool behind \"weir plugin new, build, test, bench, fuzz and replay\".")
set(CPACK_DEBIAN_WEIR-DEV_PACKAGE_DEPENDS "weir (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_WEIR-DEV_PACKAGE_RECOMMENDS
    "gcc | c-compiler, libc6-dev | libc-dev, cmake, make | ninja-build, pkg-config, libcriterion-dev")
set(CPACK_DEBIAN_WEIR-DEV_PACKAGE_SUGGESTS
    "zlib1g-dev, libhiredis-dev, g++ | c++-compiler, valgrind")
include(CPack)
