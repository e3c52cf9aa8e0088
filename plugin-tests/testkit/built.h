/* Plugins for these tests (tenant-quota, probe, shout, peers), built as a stranger builds one: with
 * the SDK's headers and nothing else of weir, once before the tests run. */
#ifndef TESTKIT_TESTS_BUILT_H
#define TESTKIT_TESTS_BUILT_H

#include <weir_testkit.h>

/* A kit with these plugins; the test fails when it is refused. */
struct kit *open_built(const char *yaml);
/* The same, NULL when it is refused. */
struct kit *try_built(const char *yaml);
/* One service and route, and these plugins. */
const char *yaml_with(const char *plugins);
/* Does the log of the kit have that text in it? */
bool was_logged(struct kit *kit, const char *text);

#endif
