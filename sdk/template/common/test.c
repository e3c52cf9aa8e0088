/* The built .so in the test kit: the gateway's own host table, a clock that only the test moves. */
#include <criterion/criterion.h>
#include <weir_testkit.h>

#define SERVICES                 \
    "_format_version: '3.0'\n" \
    "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n"

/* The status that `client` gets (NULL: one without a name), and the number it is told in *out_number. */
static int status_for(struct kit *kit, const char *client, const char **out_number)
{
    kit_request *r = kit_request_new(kit, "GET", "/orders");
    if (client != NULL)
        kit_request_header(r, "X-Client", client);
    int status = kit_run(r);
    *out_number = kit_response_header(r, "X-Request-Number");
    return status;
}

Test(@IDENTIFIER@, each_client_has_a_count_of_its_own)
{
    struct kit *kit = kit_open(SERVICES "plugins: [{name: @NAME@}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    static const struct {
        const char *client, *number;
    } requests[] = {{"ann", "1"}, {"ann", "2"}, {"bob", "1"}, {"ann", "3"}};
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const char *number;
        cr_expect_eq(status_for(kit, requests[i].client, &number), 200);
        cr_assert_not_null(number);
        cr_expect_str_eq(number, requests[i].number);
    }
    kit_close(kit);
}

Test(@IDENTIFIER@, a_request_without_a_name_goes_no_further)
{
    struct kit *kit = kit_open(SERVICES "plugins: [{name: @NAME@}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/orders");
    cr_expect_eq(kit_run(r), 400);
    cr_expect_not(kit_was_proxied(r));
    cr_expect_null(kit_response_header(r, "X-Request-Number"));
    kit_close(kit);
}

Test(@IDENTIFIER@, the_window_passes)
{
    struct kit *kit = kit_open(SERVICES "plugins: [{name: @NAME@, config: {window: 10s}}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    const char *number;
    (void)status_for(kit, "ann", &number);
    kit_advance_ms(kit, 10000);
    (void)status_for(kit, "ann", &number);
    cr_assert_not_null(number);
    cr_expect_str_eq(number, "1");
    kit_close(kit);
}

Test(@IDENTIFIER@, workers_count_together)
{
    struct kit *kit = kit_open(SERVICES "plugins: [{name: @NAME@}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    struct kit *other = kit_second_worker(kit);
    cr_assert_not_null(other, "%s", kit_error());
    const char *number;
    (void)status_for(kit, "ann", &number);
    (void)status_for(other, "ann", &number);
    cr_assert_not_null(number);
    cr_expect_str_eq(number, "2");
    kit_close(other);
    kit_close(kit);
}

Test(@IDENTIFIER@, a_window_without_length_is_refused)
{
    struct kit *kit = kit_open(SERVICES "plugins: [{name: @NAME@, config: {window: 0s}}]\n");
    cr_expect_null(kit);
    cr_expect(kit_error()[0] != '\0');
}
