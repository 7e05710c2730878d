# The store's client against a real Redis; redis-server and redis-cli must be installed.
pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)
foreach(name IN ITEMS store store_groups store_sets)
    string(REPLACE _ - program ${name}-driver)
    add_executable(${program} ${CMAKE_CURRENT_LIST_DIR}/${name}_driver.c ${CMAKE_CURRENT_LIST_DIR}/store_bench.c)
    target_link_libraries(${program} PRIVATE store PkgConfig::cmocka)
    add_test(NAME ${program} COMMAND ${program})
    set_tests_properties(${program} PROPERTIES TIMEOUT 120)
endforeach()
