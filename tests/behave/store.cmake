# The store's client against a real Redis; redis-server and redis-cli must be installed.
pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)
add_executable(store-driver ${CMAKE_CURRENT_LIST_DIR}/store_driver.c ${CMAKE_CURRENT_LIST_DIR}/store_bench.c)
target_link_libraries(store-driver PRIVATE store PkgConfig::cmocka)
add_test(NAME store-client COMMAND store-driver)
set_tests_properties(store-client PROPERTIES TIMEOUT 120)
