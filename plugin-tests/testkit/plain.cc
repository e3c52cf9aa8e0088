// A test without Criterion, in C++: a program that says what went wrong and with how many faults it
// ended. core/tests/e2e/testkit.sh builds it, as a stranger would, and runs it under valgrind, too.
#include <cstdio>
#include <cstring>

#include <weir_testkit.h>

static int faults;

static void expect(bool holds, const char *what)
{
    if (holds)
        return;
    ++faults;
    std::fprintf(stderr, "not so: %s\n", what);
}

static int status_for(struct kit *kit, const char *tenant)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "X-Tenant", tenant);
    return kit_run(r);
}

static void count_requests(void *, size_t)
{
    struct kit *kit = kit_open("_format_version: '3.0'\n"
                               "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n"
                               "plugins: [{name: tenant-quota, config: {limit: 1}}]\n");
    if (kit == nullptr)
        return;
    (void)status_for(kit, "ann");
    (void)status_for(kit, "ann");
    kit_close(kit);
}

int main()
{
    struct kit_redis *redis = kit_redis_open(6379);
    struct kit *kit = kit_open("_format_version: '3.0'\n"
                               "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n"
                               "plugins: [{name: tenant-quota, config: {limit: 1, window: 10s}}]\n");
    if (kit == nullptr) {
        std::fprintf(stderr, "%s\n", kit_error());
        return 1;
    }
    expect(status_for(kit, "ann") == 200, "the first one passes");
    expect(status_for(kit, "ann") == 429, "the second one does not");
    kit_advance_ms(kit, 10000);
    kit_request *r = kit_request_new(kit, "POST", "/");
    kit_request_header(r, "X-Tenant", "ann");
    kit_request_body(r, "body");
    kit_split_random(r, WEIR_SIDE_REQUEST, 1);
    expect(kit_run(r) == 200, "the window passes");
    expect(std::strcmp(kit_verdict(r, "access", "tenant-quota"), "NEXT") == 0, kit_trace(r));
    expect(kit_request_leftovers(r)[0] == '\0', "nothing is left");
    expect(kit_swap(kit, "tenant-quota", "tenant-quota.so"), kit_error());
    expect(status_for(kit, "ann") == 429, "dictionaries outlive a swap");
    expect(kit_free_finished(kit) == 4, "four requests");
    kit_close(kit);
    kit_redis_close(redis);
    expect(kit_each_allocation(count_requests, nullptr, 100) > 0, "some of its calls may fail");
    return faults == 0 ? 0 : 1;
}
