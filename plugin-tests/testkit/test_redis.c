/* The kit's Redis, asked through the SDK's own client. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "built.h"

static struct kit *open_ask(const char *config)
{
    char plugins[256];
    (void)snprintf(plugins, sizeof(plugins), "[{name: ask, config: %s}]", config);
    return open_built(yaml_with(plugins));
}

static kit_request *begin(struct kit *kit, const char *command)
{
    kit_request *r = kit_request_new(kit, "GET", "/");
    kit_request_header(r, "X-Command", command);
    (void)kit_run(r);
    return r;
}

static const char *ask(struct kit *kit, const char *command)
{
    kit_request *r = begin(kit, command);
    return kit_status(r) == 200 ? kit_response_body(r) : "it waits";
}

Test(testkit_redis, commands_over_one_store)
{
    static const struct {
        const char *command, *answer;
    } rows[] = {
        {"PING", "PONG"},
        {"ECHO me", "me"},
        {"GET a", "nil"},
        {"SET a 1", "OK"},
        {"SET a 2 NX", "nil"},
        {"SET b 2 XX", "nil"},
        {"GET a", "1"},
        {"INCR a", "2"},
        {"INCRBY a 40", "42"},
        {"DECR a", "41"},
        {"TTL a", "-1"},
        {"EXPIRE a 10", "1"},
        {"TTL a", "10"},
        {"PTTL a", "10000"},
        {"TTL b", "-2"},
        {"EXPIRE b 10", "0"},
        {"SETEX b 5 x", "OK"},
        {"TTL b", "5"},
        {"SETNX b y", "0"},
        {"PSETEX b 1500 y", "OK"},
        {"PTTL b", "1500"},
        {"SET c d PX 300", "OK"},
        {"PTTL c", "300"},
        {"INCR c", "ERR value is not an integer or out of range"},
        {"EXISTS a b c d", "3"},
        {"DEL b c d", "2"},
        {"SADD s x y", "2"},
        {"SADD s x", "0"},
        {"SISMEMBER s x", "1"},
        {"SISMEMBER s z", "0"},
        {"SREM s x z", "1"},
        {"GET s", "WRONGTYPE Operation against a key holding the wrong kind of value"},
        {"HSET h f v g w", "2"},
        {"HGET h f", "v"},
        {"HGET h x", "nil"},
        {"HEXISTS h g", "1"},
        {"HDEL h f g", "2"},
        {"EXISTS h", "0"},
        {"GET", "ERR wrong number of arguments for 'GET' command"},
        {"LPUSH l x", "ERR unknown command 'LPUSH'"},
        {"script k", "ERR unknown command 'EVALSHA'"},
        {"FLUSHALL", "OK"},
        {"EXISTS a s", "0"},
    };
    struct kit_redis *redis = kit_redis_open(6379);
    struct kit *kit = open_ask("{}");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(ask(kit, rows[i].command), rows[i].answer, "%s", rows[i].command);
    cr_expect_eq(kit_redis_connections(redis), 1);
    cr_expect_eq(kit_redis_count(redis, "incr"), 2);
    kit_close(kit);
    kit_redis_close(redis);
}

Test(testkit_redis, the_test_looks_and_sets)
{
    struct kit_redis *redis = kit_redis_open(6379);
    cr_expect_str_eq(kit_redis_run(redis, "SADD denied 192.0.2.1"), "1");
    cr_expect_str_eq(kit_redis_run(redis, "SETEX k 2 v"), "OK");
    cr_expect_str_eq(kit_redis_run(redis, "GET k"), "v");
    cr_expect_null(kit_redis_run(redis, "GET other"));
    struct kit *kit = open_ask("{}");
    cr_expect_str_eq(ask(kit, "SISMEMBER denied 192.0.2.1"), "1");
    kit_advance_ms(kit, 1999);
    cr_expect_str_eq(ask(kit, "GET k"), "v");
    kit_advance_ms(kit, 1);
    cr_expect_str_eq(ask(kit, "GET k"), "nil", "it ended on the kit's clock");
    cr_expect_not_null(strstr(kit_redis_seen(redis), "SISMEMBER denied 192.0.2.1\nGET k\nGET k\n"),
                       "%s", kit_redis_seen(redis));
    kit_redis_forget(redis);
    cr_expect_str_eq(kit_redis_seen(redis), "");
    cr_expect_eq(kit_redis_count(redis, NULL), 0);

    struct kit *second = kit_second_worker(kit);
    cr_expect_str_eq(ask(second, "EXISTS denied"), "1", "it is the same for all workers");
    cr_expect_eq(kit_redis_connections(redis), 2);
    kit_close(second);
    kit_close(kit);
    kit_redis_close(redis);
}

Test(testkit_redis, scripted_answers_come_in_order_and_the_last_one_stays)
{
    struct kit_redis *redis = kit_redis_open(6379);
    struct kit *kit = open_ask("{}");
    kit_redis_reply(redis, "GET", "k", "$3\r\none\r\n");
    kit_redis_reply(redis, "GET", "k", "-LOADING not yet\r\n");
    kit_redis_reply(redis, "EVALSHA", "a", ":7\r\n");
    cr_expect_str_eq(ask(kit, "GET k"), "one");
    cr_expect_str_eq(ask(kit, "get k"), "LOADING not yet");
    cr_expect_str_eq(ask(kit, "GET k"), "LOADING not yet");
    cr_expect_str_eq(ask(kit, "GET other"), "nil", "of another key the data speak");
    cr_expect_str_eq(ask(kit, "script a"), "7");
    kit_redis_reply(redis, "GET", NULL, ":8\r\n");
    cr_expect_str_eq(ask(kit, "GET other"), "8");
    kit_redis_forget(redis);
    cr_expect_str_eq(ask(kit, "GET k"), "nil");
    kit_redis_reply(redis, "GET", "k", "what?\r\n");
    cr_expect_str_eq(ask(kit, "GET k"), "no answer: it does not speak the protocol of Redis");
    kit_close(kit);
    kit_redis_close(redis);
}

Test(testkit_redis, it_hangs_is_slow_hangs_up_and_is_down)
{
    struct kit_redis *redis = kit_redis_open(6379);
    struct kit *kit = open_ask("{}");
    cr_expect_str_eq(ask(kit, "PING"), "PONG");
    kit_redis_slow(redis, 300);
    kit_redis_split(redis, 1);
    kit_request *r = begin(kit, "ECHO slowly");
    kit_advance_ms(kit, 299);
    cr_expect_eq(kit_status(r), 0);
    kit_advance_ms(kit, 1);
    cr_expect_str_eq(kit_response_body(r), "slowly");
    kit_redis_slow(redis, 0);
    kit_redis_split(redis, 0);

    kit_redis_hang(redis, true);
    r = begin(kit, "PING");
    kit_advance_ms(kit, 999);
    cr_expect_eq(kit_status(r), 0);
    kit_advance_ms(kit, 100);
    cr_expect_str_eq(kit_response_body(r), "no answer: no answer within 1000 ms");
    kit_redis_hang(redis, false);
    kit_advance_ms(kit, 3000);
    cr_expect_str_eq(ask(kit, "PING"), "PONG", "it connects anew");

    kit_redis_hangs_up(redis, "GET", "k");
    cr_expect_str_eq(ask(kit, "GET k"), "no answer: the peer closed the connection");
    kit_redis_forget(redis);
    kit_advance_ms(kit, 3000);
    cr_expect_str_eq(ask(kit, "GET k"), "nil");

    kit_redis_down(redis, true);
    kit_turn(kit);
    cr_expect_str_eq(ask(kit, "GET k"), "refused: 7", "WEIR_GONE");
    kit_redis_down(redis, false);
    kit_advance_ms(kit, 3000);
    cr_expect_str_eq(ask(kit, "GET k"), "nil");
    kit_close(kit);
    kit_redis_close(redis);
}

Test(testkit_redis, it_asks_for_a_password_and_has_databases)
{
    struct kit_redis *redis = kit_redis_open(6379);
    kit_redis_password(redis, "sesame");
    struct kit *kit = open_ask("{password: sesame, database: 3}");
    cr_expect_str_eq(ask(kit, "SET k v"), "OK");
    cr_expect_null(kit_redis_run(redis, "GET k"), "which is of database 0");
    cr_expect_not_null(strstr(kit_redis_seen(redis), "AUTH ***\nSELECT 3\n"), "%s",
                       kit_redis_seen(redis));
    kit_close(kit);
    kit = open_ask("{password: wrong}");
    cr_expect_str_eq(ask(kit, "GET k"), "no answer: AUTH was refused");
    kit_close(kit);
    kit = open_ask("{}");
    cr_expect_str_neq(ask(kit, "GET k"), "v");
    kit_close(kit);
    kit_redis_close(redis);
}
