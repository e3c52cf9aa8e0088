# What find_package(WeirPlugin) gives to authors besides the targets. weir builds its own policies with
# the same functions.

enable_testing() # here, as its effect would end with a function

set(WEIR_PLUGIN_SANITIZE "" CACHE STRING
    "sanitizers for the plugins and tests of this project, such as address,undefined")

# -DWEIR_PLUGIN_SANITIZE=… goes to the plugin and to its test. The kit may be without: the test's
# executable brings the runtime, as it must be there first.
function(weir_plugin_sanitize target)
    if(WEIR_PLUGIN_SANITIZE)
        target_compile_options(${target} PRIVATE
            -fsanitize=${WEIR_PLUGIN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
        target_link_options(${target} PRIVATE -fsanitize=${WEIR_PLUGIN_SANITIZE})
    endif()
endfunction()

# weir_add_plugin(NAME SOURCES source… [LIBS library…])
#
# NAME.so in the build folder, with one exported symbol and every import resolved when it is built, so
# that nothing is missing when a gateway loads it. A library is a target (weir::bodies), a pkg-config
# module (libpcre2-8) or a plain name (m), in this order.
function(weir_add_plugin name)
    cmake_parse_arguments(PLUGIN "" "" "SOURCES;LIBS" ${ARGN})
    if(NOT PLUGIN_SOURCES)
        message(FATAL_ERROR "weir_add_plugin(${name}): SOURCES is empty")
    endif()
    if(PLUGIN_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "weir_add_plugin(${name}): what is '${PLUGIN_UNPARSED_ARGUMENTS}'?")
    endif()
    add_library(${name} MODULE ${PLUGIN_SOURCES})
    set_target_properties(${name} PROPERTIES
        PREFIX "" SUFFIX .so POSITION_INDEPENDENT_CODE ON
        C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
    get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
    if("C" IN_LIST languages)
        target_compile_features(${name} PRIVATE c_std_11)
    endif()
    if("CXX" IN_LIST languages)
        target_compile_features(${name} PRIVATE cxx_std_17)
        # A symbol that is unique in the process keeps the image in memory for ever.
        target_compile_options(${name} PRIVATE
            $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fno-gnu-unique>)
        # Templates of namespace std are visible whatever -fvisibility says.
        set(exports "${CMAKE_CURRENT_BINARY_DIR}/${name}.map")
        file(WRITE "${exports}" "{ global: weir_plugin_v1; local: *; };\n")
        target_link_options(${name} PRIVATE "-Wl,--version-script=${exports}")
    endif()
    target_link_libraries(${name} PRIVATE weir::plugin)
    foreach(library ${PLUGIN_LIBS})
        if(NOT TARGET ${library} AND library MATCHES "::")
            message(FATAL_ERROR "weir_add_plugin(${name}): there is no ${library} here")
        elseif(NOT TARGET ${library})
            find_package(PkgConfig QUIET)
            if(PKG_CONFIG_FOUND)
                string(MAKE_C_IDENTIFIER "WEIR_PLUGIN_PC_${library}" module)
                pkg_check_modules(${module} QUIET IMPORTED_TARGET ${library})
                if(${module}_FOUND)
                    set(library PkgConfig::${module})
                endif()
            endif()
        endif()
        target_link_libraries(${name} PRIVATE ${library})
    endforeach()
    target_link_options(${name} PRIVATE -Wl,-z,now -Wl,--exclude-libs,ALL)
    weir_plugin_sanitize(${name})
    # clang leaves the sanitizer's symbols to the executable, so they are undefined here by design.
    set(flags "${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS}")
    if(NOT ("${CMAKE_C_COMPILER_ID}${CMAKE_CXX_COMPILER_ID}" MATCHES "Clang" AND
        (WEIR_SANITIZE OR WEIR_PLUGIN_SANITIZE OR flags MATCHES "-fsanitize")))
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
endfunction()

# weir_add_plugin_test(NAME SOURCES source… [PLUGIN target] [LIBS library…])
#
# An executable over Criterion and the test kit, and a ctest of it called NAME that finds the plugin's .so
# (WEIR_PLUGIN_DIR) and the project's files (WEIR_SOURCE_DIR, for kit_open_markdown). When NAME is the
# plugin's own, that is the PLUGIN, and the executable is called test-NAME.
function(weir_add_plugin_test name)
    cmake_parse_arguments(TEST "" "PLUGIN" "SOURCES;LIBS" ${ARGN})
    if(NOT TEST_SOURCES)
        message(FATAL_ERROR "weir_add_plugin_test(${name}): SOURCES is empty")
    endif()
    if(NOT TARGET weir::testkit)
        message(FATAL_ERROR "weir_add_plugin_test(${name}): the test kit is not here: "
            "it needs libweir_testkit.so (of weir-dev) and Criterion (libcriterion-dev)")
    endif()
    set(executable ${name})
    if(TARGET ${name})
        set(executable test-${name})
        if(NOT TEST_PLUGIN)
            set(TEST_PLUGIN ${name})
        endif()
    endif()
    if(NOT TARGET "${TEST_PLUGIN}")
        message(FATAL_ERROR "weir_add_plugin_test(${name}): PLUGIN must name the target of a plugin")
    endif()
    add_executable(${executable} ${TEST_SOURCES})
    target_link_libraries(${executable} PRIVATE weir::testkit weir::criterion ${TEST_LIBS})
    weir_plugin_sanitize(${executable})
    add_dependencies(${executable} ${TEST_PLUGIN})
    add_test(NAME ${name} COMMAND ${executable})
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 ENVIRONMENT
        "WEIR_PLUGIN_DIR=$<TARGET_FILE_DIR:${TEST_PLUGIN}>;WEIR_SOURCE_DIR=${CMAKE_CURRENT_SOURCE_DIR}")
endfunction()
