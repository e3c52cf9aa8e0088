# What a Debian package has and a plain install has not; cpack runs it once on the staged components:
# no debugging information (the names of functions stay, so that a crash report can say where), pages
# packed with gzip, and a copyright and a changelog for each package.
foreach(component ${CPACK_COMPONENTS_ALL})
    set(root ${CPACK_TEMPORARY_DIRECTORY}/${component}${CPACK_PACKAGING_INSTALL_PREFIX})
    if(NOT IS_DIRECTORY ${root})
        message(FATAL_ERROR "there is no ${root}")
    endif()
    file(GLOB_RECURSE images ${root}/bin/* ${root}/lib/*.so ${root}/lib/*.a ${root}/lib/weir/weir-plugin)
    foreach(image ${images})
        execute_process(COMMAND strip --strip-debug --enable-deterministic-archives
            --remove-section=.comment ${image} COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
    file(GLOB_RECURSE manuals ${root}/share/man/*.1)
    foreach(manual ${manuals})
        execute_process(COMMAND gzip -9nf ${manual} COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
    set(documents ${root}/share/doc/${component})
    file(MAKE_DIRECTORY ${documents})
    file(READ ${CPACK_WEIR_SOURCE}/LICENSE license)
    file(WRITE ${documents}/copyright
        "weir, by the authors of weir, under the following license.\n${license}")
    file(COPY_FILE ${CPACK_WEIR_SOURCE}/CHANGELOG.md ${documents}/changelog)
    execute_process(COMMAND gzip -9nf ${documents}/changelog COMMAND_ERROR_IS_FATAL ANY)
    # Whatever the umask of the one who builds was.
    file(GLOB_RECURSE all LIST_DIRECTORIES true ${root}/*)
    foreach(path ${all})
        if(IS_SYMLINK ${path})
        elseif(IS_DIRECTORY ${path} OR path MATCHES "/bin/[^/]*$|/lib/weir/weir-plugin$")
            file(CHMOD ${path} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
                GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
        else()
            file(CHMOD ${path} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
        endif()
    endforeach()
endforeach()
