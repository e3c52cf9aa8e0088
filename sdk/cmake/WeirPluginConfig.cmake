# find_package(WeirPlugin) for policies built outside weir's tree. A plugin needs the headers and the
# flags below, no library.
#
#   find_package(WeirPlugin REQUIRED)
#   weir_add_plugin(tenant-quota SOURCES tenant-quota.c [LIBS library…])
#
# Found from an install prefix (lib/cmake/WeirPlugin) or from a source tree (sdk/cmake).
get_filename_component(WeirPlugin_SDK "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
if(NOT EXISTS "${WeirPlugin_SDK}/include/weir/weir.h")
    get_filename_component(WeirPlugin_SDK "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
endif()
set(WeirPlugin_INCLUDE_DIR "${WeirPlugin_SDK}/include")

if(NOT TARGET weir::plugin)
    add_library(weir::plugin INTERFACE IMPORTED)
    set_target_properties(weir::plugin PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${WeirPlugin_INCLUDE_DIR}")
endif()

# weir::bodies: JSON, form, multipart and compressed bodies (<weir/json.h> and the like), for those that
# ask for it: weir_add_plugin(name SOURCES … LIBS weir::bodies). It brings zlib.
find_library(WeirPlugin_BODIES weir_bodies HINTS "${WeirPlugin_SDK}/lib" NO_DEFAULT_PATH)
if(WeirPlugin_BODIES AND NOT TARGET weir::bodies)
    add_library(weir::bodies STATIC IMPORTED)
    set_target_properties(weir::bodies PROPERTIES
        IMPORTED_LOCATION "${WeirPlugin_BODIES}"
        INTERFACE_INCLUDE_DIRECTORIES "${WeirPlugin_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES z)
endif()

# NAME.so, with one exported symbol and every import resolved at build time.
function(weir_add_plugin name)
    cmake_parse_arguments(PLUGIN "" "" "SOURCES;LIBS" ${ARGN})
    if(NOT PLUGIN_SOURCES)
        message(FATAL_ERROR "weir_add_plugin(${name}): SOURCES is empty")
    endif()
    add_library(${name} MODULE ${PLUGIN_SOURCES})
    set_target_properties(${name} PROPERTIES
        PREFIX "" SUFFIX .so POSITION_INDEPENDENT_CODE ON
        C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
    target_link_libraries(${name} PRIVATE weir::plugin ${PLUGIN_LIBS})
    target_link_options(${name} PRIVATE -Wl,-z,now -Wl,--exclude-libs,ALL)
    # clang leaves the sanitizer's symbols to the executable, so they are undefined here by design.
    if(NOT (CMAKE_C_COMPILER_ID MATCHES "Clang" AND CMAKE_C_FLAGS MATCHES "-fsanitize"))
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
endfunction()
