#include "fuzz_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz_watch.h"

enum { CALLERS = 32 };

static int listener = -1;
static uint16_t port;
static int callers[CALLERS];
static size_t caller_count;

bool peer_listen(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0)
        return false;
    if (bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, CALLERS) == 0 &&
        getsockname(listener, (struct sockaddr *)&address, &size) == 0)
        port = ntohs(address.sin_port);
    return port != 0;
}

uint16_t peer_port(void)
{
    return port;
}

static void hang_up_on(size_t i)
{
    (void)close(callers[i]);
    callers[i] = callers[--caller_count];
}

void peer_hang_up(void)
{
    while (caller_count > 0)
        hang_up_on(caller_count - 1);
}

/* false: it hangs up. */
static bool answer(int caller)
{
    static const char *const answers[] = {
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "$2\r\n10\r\n",
        "*2\r\n:1\r\n:60\r\n",
        "-ERR no\r\n",
        ":99999\r\n",
        "*-1\r\n",
        "$5\r\nab",
        "*3\r\n$1\r\na\r\n",
        "nonsense\r\n",
        "\xff\xfe\r\n",
        "*1\r\n*1\r\n:0\r\n",
    };
    uint64_t n = watch_random() % (sizeof(answers) / sizeof(answers[0]) + 2);
    if (n == 0)
        return false;
    if (n == 1) /* it only listens */
        return true;
    const char *text = answers[n - 2];
    return send(caller, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

bool peer_serve(void)
{
    bool served = false;
    char bytes[4096];
    int caller;
    while (listener >= 0 && caller_count < CALLERS &&
           (caller = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        callers[caller_count++] = caller;
        served = true;
    }
    for (size_t i = 0; i < caller_count;) {
        ssize_t size = recv(callers[i], bytes, sizeof(bytes), MSG_DONTWAIT);
        served = served || size >= 0;
        if (size == 0 || (size > 0 && !answer(callers[i])))
            hang_up_on(i);
        else
            i++;
    }
    return served;
}
