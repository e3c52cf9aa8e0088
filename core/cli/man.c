#include "cli/man.h"

#include "config/settings.h"

/* Text that roff neither interprets nor reads as a macro: dashes stay what can be pasted in a
 * shell. */
static void write_text(struct buf *page, struct span text)
{
    if (text.size > 0 && (text.data[0] == '.' || text.data[0] == '\''))
        buf_text(page, "\\&");
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '-')
            buf_text(page, "\\-");
        else if (text.data[i] == '\\')
            buf_text(page, "\\e");
        else
            buf_byte(page, text.data[i]);
    }
    buf_byte(page, '\n');
}

/* "  --flag VALUE  meaning": the end of the term is two spaces. */
static void write_term(struct buf *page, struct span line)
{
    size_t end = 0;
    while (end + 1 < line.size && (line.data[end] != ' ' || line.data[end + 1] != ' '))
        end++;
    if (end + 1 >= line.size)
        end = line.size;
    buf_text(page, ".TP\n.B ");
    write_text(page, span_first(line, end));
    write_text(page, span_trim(span_from(line, end)));
}

static void write_lines(struct buf *page, struct span rest)
{
    struct span line;
    bool in_terms = false;
    while (span_split(&rest, '\n', &line)) {
        bool is_term = line.size > 2 && span_starts_with(line, SPAN("  ")) && line.data[2] != ' ';
        if (is_term) {
            write_term(page, span_from(line, 2));
            in_terms = true;
        } else if (span_is_empty(line)) {
            if (!span_is_empty(rest))
                buf_text(page, ".PP\n");
            in_terms = false;
        } else {
            if (in_terms && line.data[0] != ' ') {
                buf_text(page, ".PP\n");
                in_terms = false;
            }
            write_text(page, span_trim(line));
        }
    }
}

void man_start(struct buf *page)
{
    buf_text(page, ".TH WEIR 1 \"\" \"weir " WEIR_VERSION "\" \"weir\"\n"
                   ".SH NAME\nweir \\- an API gateway that reads Kong's declarative YAML\n"
                   ".SH SYNOPSIS\n.B weir\n.I VERB\n[argument ...]\n"
                   ".SH DESCRIPTION\n");
    write_lines(page,
                SPAN("weir proxies HTTP/1.1 to upstream services. Every policy (authentication, "
                     "limits, logs)\nis a plugin of its own, loaded by name from the "
                     "configuration.\n"));
    buf_text(page, ".SH VERBS\n");
}

void man_verb(struct buf *page, const char *name, const char *arguments, const char *help,
              const char *details)
{
    buf_text(page, ".SS weir ");
    buf_text(page, name);
    buf_byte(page, ' ');
    write_text(page, span_text(arguments));
    write_text(page, span_text(help));
    if (details != NULL) {
        buf_text(page, ".PP\n");
        write_lines(page, span_text(details));
    }
}

void man_end(struct buf *page)
{
    AUTO_BUF settings = BUF_INIT;
    settings_help(&settings);
    buf_text(page, ".SH SETTINGS\n");
    write_lines(page, SPAN("In the gateway: block of the configuration, as WEIR_NAME in the "
                           "environment and as\n--NAME on the command line, the last being the "
                           "strongest. Dashes are as good as\nunderscores.\n\n"));
    write_lines(page, buf_view(&settings));
    page->failed = page->failed || settings.failed;
    buf_text(page, ".SH FILES\n");
    write_lines(page, SPAN("  kong.yml, weir.yaml  read when no configuration is named\n"
                           "  PREFIX/weir.sock     where reload, stop and health ask\n"
                           "  PREFIX/weir.pid      process id of the master\n"
                           "  ../lib/weir/plugins  plugins, beside the folder of the program\n"));
    buf_text(page, ".SH ENVIRONMENT\n");
    write_lines(page, SPAN("  WEIR_CONFIG       the configuration when none is named\n"
                           "  WEIR_PLUGIN_PATH  where plugins are\n"
                           "  WEIR_PREFIX       folder for run-time files\n"
                           "  WEIR_<NAME>       any other setting\n"));
    buf_text(page, ".SH EXIT STATUS\n");
    write_lines(page, SPAN("  0  it was done\n"
                           "  1  it failed while running\n"
                           "  2  wrong usage\n"
                           "  3  the configuration is bad\n"));
}
