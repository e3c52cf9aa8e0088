#include "http/write.h"

#include "http/headers.h"

/* clang-format off */
#define STATUSES(X)                                                                                \
    X(100, "Continue") X(101, "Switching Protocols") X(102, "Processing") X(103, "Early Hints")    \
    X(200, "OK") X(201, "Created") X(202, "Accepted") X(203, "Non-Authoritative Information")      \
    X(204, "No Content") X(205, "Reset Content") X(206, "Partial Content") X(207, "Multi-Status")  \
    X(208, "Already Reported") X(226, "IM Used")                                                   \
    X(300, "Multiple Choices") X(301, "Moved Permanently") X(302, "Found") X(303, "See Other")     \
    X(304, "Not Modified") X(305, "Use Proxy") X(307, "Temporary Redirect")                        \
    X(308, "Permanent Redirect")                                                                   \
    X(400, "Bad Request") X(401, "Unauthorized") X(402, "Payment Required") X(403, "Forbidden")    \
    X(404, "Not Found") X(405, "Method Not Allowed") X(406, "Not Acceptable")                      \
    X(407, "Proxy Authentication Required") X(408, "Request Timeout") X(409, "Conflict")           \
    X(410, "Gone") X(411, "Length Required") X(412, "Precondition Failed")                         \
    X(413, "Content Too Large") X(414, "URI Too Long") X(415, "Unsupported Media Type")            \
    X(416, "Range Not Satisfiable") X(417, "Expectation Failed") X(421, "Misdirected Request")     \
    X(422, "Unprocessable Content") X(423, "Locked") X(424, "Failed Dependency")                   \
    X(425, "Too Early") X(426, "Upgrade Required") X(428, "Precondition Required")                 \
    X(429, "Too Many Requests") X(431, "Request Header Fields Too Large")                          \
    X(451, "Unavailable For Legal Reasons") X(494, "Request Header Or Cookie Too Large")           \
    X(499, "Client Closed Request")                                                                \
    X(500, "Internal Server Error") X(501, "Not Implemented") X(502, "Bad Gateway")                \
    X(503, "Service Unavailable") X(504, "Gateway Timeout") X(505, "HTTP Version Not Supported")   \
    X(506, "Variant Also Negotiates") X(507, "Insufficient Storage") X(508, "Loop Detected")       \
    X(511, "Network Authentication Required")
/* clang-format on */

#define VERSION "HTTP/1.1 "
#define BEFORE_REASON (sizeof(VERSION "200 ") - 1)

static const struct span status_lines[512] = {
#define X(status, reason) \
    [status] = {VERSION #status " " reason "\r\n", sizeof(VERSION #status " " reason "\r\n") - 1},
    STATUSES(X)
#undef X
};

struct span http_reason(unsigned status)
{
    if (status >= COUNT_OF(status_lines) || status_lines[status].data == NULL)
        return SPAN("");
    struct span line = status_lines[status];
    return span_of(line.data + BEFORE_REASON, line.size - BEFORE_REASON - 2);
}

static void write_line(struct http_writer *w, unsigned status, struct span reason)
{
    CHECK_THAT(status >= 100 && status <= 999);
    char digits[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                     (char)('0' + status % 10), ' '};
    http_write_span(w, SPAN(VERSION));
    http_write_span(w, span_of(digits, sizeof(digits)));
    http_write_span(w, reason);
    http_write_end(w);
}

void http_write_status_line(struct http_writer *w, unsigned status)
{
    if (LIKELY(status < COUNT_OF(status_lines) && status_lines[status].data != NULL))
        http_write_span(w, status_lines[status]);
    else
        write_line(w, status, SPAN(""));
}

void http_write_status_reason(struct http_writer *w, unsigned status, struct span reason)
{
    if (LIKELY(span_equal(reason, http_reason(status)))) /* the whole line is ready */
        http_write_status_line(w, status);
    else
        write_line(w, status, http_value_is_valid(reason) ? reason : SPAN(""));
}

static void two_digits(char *at, unsigned value)
{
    at[0] = (char)('0' + value / 10);
    at[1] = (char)('0' + value % 10);
}

/* Year, month (0 is March) and day of a day count since 1 March 0000: the leap day is then the last
 * of its year, and month lengths repeat every five months (153 days). */
static void split_days(unsigned days, unsigned *year, unsigned *month, unsigned *day)
{
    unsigned era = days / 146097, in_era = days % 146097;
    unsigned in_era_year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * in_era_year + in_era_year / 4 - in_era_year / 100);
    *month = (5 * in_year + 2) / 153;
    *day = in_year - (153 * *month + 2) / 5 + 1;
    *year = era * 400 + in_era_year;
}

void http_date(char out[HTTP_DATE_SIZE], uint64_t wall_seconds)
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* 1 January 1970 was a Thursday */
    static const char months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
    if (wall_seconds > UINT64_C(253402300799)) /* the year 9999: the field has four digits */
        wall_seconds = UINT64_C(253402300799);
    unsigned day_count = (unsigned)(wall_seconds / 86400);
    unsigned second = (unsigned)(wall_seconds % 86400);
    unsigned year, month, day;
    split_days(day_count + 719468, &year, &month, &day);
    year += month >= 10;

    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_SIZE);
    memcpy(out, days + 3 * (size_t)(day_count % 7), 3);
    two_digits(out + 5, day);
    memcpy(out + 8, months + 3 * (size_t)month, 3);
    two_digits(out + 12, year / 100);
    two_digits(out + 14, year % 100);
    two_digits(out + 17, second / 3600);
    two_digits(out + 20, second / 60 % 60);
    two_digits(out + 23, second % 60);
}
