# find_package(WeirPlugin) for policies built outside weir's tree.
#
#   cmake_minimum_required(VERSION 3.20)
#   project(tenant-quota LANGUAGES C)
#   find_package(WeirPlugin REQUIRED)
#   weir_add_plugin(tenant-quota SOURCES tenant-quota.c)
#   weir_add_plugin_test(tenant-quota SOURCES test.c)
#
# weir::plugin   the headers; all that a plugin needs
# weir::bodies   JSON, form, multipart and compressed bodies (<weir/json.h> …); brings zlib
# weir::redis    a Redis client over the host's streams (<weir/redis.h>); brings hiredis
# weir::testkit  <weir_testkit.h>: a plugin's test, without a gateway
#
# The last three are there when their library is. The functions are described in WeirPlugin.cmake.
#
# Found in an install prefix or a build tree of weir, which have the same shape (CMAKE_PREFIX_PATH), or in
# a source tree (WeirPlugin_DIR=…/sdk/cmake; -DWeirPlugin_BUILD=… names its build tree, else build/release,
# build/debug or build/asan is looked at).
get_filename_component(WeirPlugin_HERE "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
get_filename_component(WeirPlugin_SDK "${WeirPlugin_HERE}/.." ABSOLUTE)
if(EXISTS "${WeirPlugin_SDK}/include/weir/weir.h")
    set(WeirPlugin_INCLUDE_DIR "${WeirPlugin_SDK}/include")
    set(WeirPlugin_KIT_INCLUDE_DIR "${WeirPlugin_SDK}/testkit")
    set(WeirPlugin_LIBRARY_DIR)
    foreach(build "${WeirPlugin_BUILD}" "${WeirPlugin_SDK}/../build/release"
            "${WeirPlugin_SDK}/../build/debug" "${WeirPlugin_SDK}/../build/asan")
        if(build AND EXISTS "${build}/lib/libweir_testkit.so" AND NOT WeirPlugin_LIBRARY_DIR)
            get_filename_component(WeirPlugin_LIBRARY_DIR "${build}/lib" ABSOLUTE)
        endif()
    endforeach()
else()
    get_filename_component(WeirPlugin_SDK "${WeirPlugin_HERE}/../../.." ABSOLUTE)
    set(WeirPlugin_INCLUDE_DIR "${WeirPlugin_SDK}/include")
    set(WeirPlugin_KIT_INCLUDE_DIR "${WeirPlugin_SDK}/include")
    set(WeirPlugin_LIBRARY_DIR "${WeirPlugin_SDK}/lib")
endif()
if(NOT EXISTS "${WeirPlugin_INCLUDE_DIR}/weir/weir.h")
    set(WeirPlugin_FOUND FALSE)
    set(WeirPlugin_NOT_FOUND_MESSAGE "there is no ${WeirPlugin_INCLUDE_DIR}/weir/weir.h")
    return()
endif()

# How that weir was built: WeirPlugin_SANITIZED is what its libraries need of whoever links them.
set(WeirPlugin_SANITIZED)
if(WeirPlugin_LIBRARY_DIR)
    include("${WeirPlugin_LIBRARY_DIR}/cmake/WeirPlugin/WeirPluginBuild.cmake" OPTIONAL)
endif()

if(NOT TARGET weir::plugin)
    add_library(weir::plugin INTERFACE IMPORTED)
    set_target_properties(weir::plugin PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${WeirPlugin_INCLUDE_DIR}")
endif()

# An imported target weir::NAME for a library file, when that is there.
function(_weir_plugin_library name kind file include)
    if(NOT WeirPlugin_LIBRARY_DIR OR TARGET weir::${name} OR NOT EXISTS
        "${WeirPlugin_LIBRARY_DIR}/${file}")
        return()
    endif()
    add_library(weir::${name} ${kind} IMPORTED)
    set_target_properties(weir::${name} PROPERTIES
        IMPORTED_LOCATION "${WeirPlugin_LIBRARY_DIR}/${file}"
        INTERFACE_INCLUDE_DIRECTORIES "${include}"
        INTERFACE_LINK_LIBRARIES "weir::plugin;${ARGN}")
    if(WeirPlugin_SANITIZED)
        set_target_properties(weir::${name} PROPERTIES
            INTERFACE_LINK_OPTIONS "-fsanitize=${WeirPlugin_SANITIZED}")
    endif()
endfunction()
_weir_plugin_library(bodies STATIC libweir_bodies.a "${WeirPlugin_INCLUDE_DIR}" z)
_weir_plugin_library(redis STATIC libweir_redis.a "${WeirPlugin_INCLUDE_DIR}" hiredis)

find_path(WeirPlugin_CRITERION_INCLUDE_DIR criterion/criterion.h)
find_library(WeirPlugin_CRITERION criterion)
mark_as_advanced(WeirPlugin_CRITERION_INCLUDE_DIR WeirPlugin_CRITERION)
if(WeirPlugin_CRITERION AND WeirPlugin_CRITERION_INCLUDE_DIR AND NOT TARGET weir::criterion)
    add_library(weir::criterion INTERFACE IMPORTED)
    set_target_properties(weir::criterion PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${WeirPlugin_CRITERION_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "${WeirPlugin_CRITERION}")
endif()
_weir_plugin_library(testkit SHARED libweir_testkit.so "${WeirPlugin_KIT_INCLUDE_DIR}")

include("${WeirPlugin_HERE}/WeirPlugin.cmake")
